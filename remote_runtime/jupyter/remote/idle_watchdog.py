"""The idle watchdog: a process of its own that ends the server, or the machine, when nobody uses it any more.

It outlives the tunnel, our computer and Jupyter, and starts again after a reboot where cron or systemd allow that. In
the server's folder: ``watchdog.json`` is what it was told, ``idle.json`` what it saw last.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

from . import processes, server
from .data_dir import IDLE, LOG, WATCHDOG_PROGRAM, load_json, write_private
from .reply import ReportedError
from .request import IdleRule

RULE_FILE, PROGRAM_FILE = "watchdog.json", WATCHDOG_PROGRAM
MAX_CHECK_INTERVAL_S, RETRY_S, START_TIMEOUT_S = 30.0, 300.0, 15.0
# watch.py: makes the launcher's modules in memory, as the launcher does, and runs this one.
PROGRAM_SOURCE = """\
import json, os, sys
sys.path[0:1] = []
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "watchdog.json"), encoding="utf-8") as handle:
    orders = json.load(handle)
names = {"__name__": "remote_runtime_launcher"}
exec(orders["launcher"], names)
sys.exit(names["load"](orders["sources"], "idle_watchdog").main(here, orders))
"""


def ensure(directory: str, rule: IdleRule | None, source: dict[str, Any], idle_s: float = 0.0) -> dict[str, Any]:
    """A watchdog with this rule, or none. ``program``: ``launcher`` and ``sources`` of the orders. ``idle_s``: how
    long nothing was used when a new one begins.

    Answers ``how`` it will be done, ``why`` not better, and ``reboot``: what starts it again then, or empty.
    """
    if rule is None:
        end(directory)
        return {}
    rule_document = load_json(os.path.join(directory, RULE_FILE))
    wanted = {"after_s": rule.after_s, "do": rule.do, **source}
    if all(rule_document.get(name) == value for name, value in wanted.items()) and _is_running(rule_document):
        return {**rule_document["told"], "failed": failure_reason(directory)}
    import subprocess

    from . import autostart, shutdown

    end(directory)
    method = shutdown.ShutdownMethod("here", "end") if rule.do == "stop-server" else shutdown.find_method(rule.do)
    command = [sys.executable, os.path.join(directory, PROGRAM_FILE)]
    write_private(os.path.join(directory, PROGRAM_FILE), PROGRAM_SOURCE)
    started_by = autostart.install(os.path.basename(directory), command) if rule.do != "stop-server" else ""
    answer = {
        "how": method.how,
        "verb": method.verb,
        "why": method.why,
        "reboot": started_by,
        "local_ssd": method.local_ssd,
    }
    # A server that was started over SSH is on a machine for which sessions count; here they are the user's own.
    new_document = {**wanted, "told": answer, "sessions": "SSH_CONNECTION" in os.environ, "idle_s": idle_s}
    _set_used_at(directory, ago_s=idle_s)
    write_private(os.path.join(directory, RULE_FILE), json.dumps(new_document))
    with open(os.devnull, "r+b") as null:
        child = subprocess.Popen(command, cwd="/", stdin=null, stdout=null, stderr=null, **_detached())
    until = time.monotonic() + START_TIMEOUT_S
    while not _is_running(load_json(os.path.join(directory, RULE_FILE))):
        if child.poll() is not None or time.monotonic() > until:
            end(directory)
            return {**answer, "how": "none", "why": "the watchdog did not start", "reboot": ""}
        time.sleep(0.05)
    return answer


def mark_used(directory: str) -> None:
    """A person came back: that is a use."""
    _set_used_at(directory, ago_s=0.0)


def _set_used_at(directory: str, *, ago_s: float) -> None:
    at = time.time() - ago_s
    with contextlib.suppress(OSError):
        os.utime(os.path.join(directory, PROGRAM_FILE), (at, at))


def idle_s(directory: str) -> float:
    """How long nothing was used, as the watchdog at work there saw it last. One that a reboot ended does not count:
    somebody may have started the machine since."""
    return float(load_json(os.path.join(directory, IDLE)).get("idle_s") or 0.0) if is_running(directory) else 0.0


def end(directory: str) -> None:
    """End it, and what would start it again."""
    rule_document = load_json(os.path.join(directory, RULE_FILE))
    if not rule_document and not os.path.exists(os.path.join(directory, PROGRAM_FILE)):
        return
    from . import autostart

    autostart.remove(os.path.basename(directory))
    if _is_running(rule_document):
        processes.terminate({int(rule_document["pid"]): str(rule_document["birth"])}, 5.0)
    for name in (RULE_FILE, IDLE, PROGRAM_FILE):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


def is_running(directory: str) -> bool:
    """Whether a watchdog is at work there."""
    return _is_running(load_json(os.path.join(directory, RULE_FILE)))


def stop_reason(directory: str) -> str:
    """Why the watchdog has ended the server there; empty if it has not."""
    return str(load_json(os.path.join(directory, IDLE)).get("stopped") or "")


def failure_reason(directory: str) -> str:
    """Why what the rule says could not be done at the last try; empty if it was not tried, or is used again."""
    return str(load_json(os.path.join(directory, IDLE)).get("failed") or "")


def main(directory: str, rule_document: dict[str, Any]) -> int:
    """The watchdog's life."""
    if _is_running(rule_document):
        return 0
    from . import activity

    rule = IdleRule(float(rule_document["after_s"]), str(rule_document["do"]))
    _register(directory, os.getpid())
    everywhere = rule.do != "stop-server"
    probe = activity.ActivityProbe(directory, sessions=bool(rule_document["sessions"]), everywhere=everywhere)
    not_before = time.monotonic()
    idle_timer = IdleTimer(float(rule_document["idle_s"]), not_before, time.time())
    failure: str | None = None  # of the last try, empty if it was accepted; None before the first
    while load_json(os.path.join(directory, RULE_FILE)).get("pid") == os.getpid():
        try:
            use = probe.check()
        except Exception as exc:  # noqa: BLE001  a look that fails must not end the watch, and is no proof of idleness
            use = activity.Activity(f"unknown: {_error_text(exc)}")
        ago_s = 0.0 if use.what else min(use.ago_s, _marked_ago_s(directory))
        lasts_s = idle_timer.idle_s(ago_s, time.monotonic(), time.time())
        failure = None if lasts_s < rule.after_s else failure
        state = {"idle_s": round(lasts_s, 1), "use": use.what, "at": time.time()}
        _save(directory, {**state, "failed": failure or ""})
        if lasts_s >= rule.after_s and time.monotonic() >= not_before:
            failure = _apply_rule(directory, rule, accepted=failure == "")
            if failure is None:
                return 0
            _save(directory, {**state, "failed": failure})
            not_before = time.monotonic() + RETRY_S
        time.sleep(max(0.5, min(MAX_CHECK_INTERVAL_S, rule.after_s / 4)))
    return 0


def _apply_rule(directory: str, rule: IdleRule, *, accepted: bool) -> str | None:
    """None when the watch is over, else why the machine goes on, empty while it is not known to. ``accepted``: the
    last try seemed to succeed."""
    why = f"nothing was used for {_format_duration(rule.after_s)}"
    if rule.do == "stop-server":
        return _end_server(directory, why)
    from . import shutdown

    verb = shutdown.VERBS[rule.do]
    _log(directory, f"{why}: to {verb} the machine")
    try:
        failure = shutdown.shut_down(rule.do, accepted=accepted)
    except Exception as exc:  # noqa: BLE001  whatever it was, the machine goes on and costs: it is tried again
        failure = _error_text(exc)
    if failure:
        _log(directory, f"the machine goes on: {failure}; another try in {_format_duration(RETRY_S)}")
    return failure


def _end_server(directory: str, why: str) -> str | None:
    _log(directory, f"{why}: ending the server and its kernels")
    try:
        server.terminate(directory)
    except Exception as exc:  # noqa: BLE001  whatever it was, the server goes on: it is tried again
        _log(directory, f"the server goes on: {_error_text(exc)}; another try in {_format_duration(RETRY_S)}")
        return _error_text(exc)
    _save(directory, {"stopped": why, "at": time.time()})
    return None


def _error_text(exc: Exception) -> str:
    """Its words, where they are ours or the system's; others may have a secret."""
    text = str(exc) if isinstance(exc, ReportedError) else getattr(exc, "strerror", None)
    return str(text or type(exc).__name__)[:200]


def _log(directory: str, text: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    with contextlib.suppress(OSError), open(os.path.join(directory, LOG), "a", encoding="utf-8") as log:
        log.write(f"[{stamp} remote-runtime] {text}\n")


def _register(directory: str, pid: int) -> None:
    """Who watches: only the one that is named goes on, and one that a reboot starts again begins afresh. Without
    orders there is nothing to watch."""
    path = os.path.join(directory, RULE_FILE)
    rule_document = load_json(path)
    if rule_document:
        write_private(path, json.dumps({**rule_document, "idle_s": 0.0, "pid": pid, "birth": processes.start_id(pid)}))


def _save(directory: str, state: dict[str, Any]) -> None:
    """A full disk must not end the watch."""
    with contextlib.suppress(OSError):
        write_private(os.path.join(directory, IDLE), json.dumps(state))


def _is_running(rule_document: dict[str, Any]) -> bool:
    pid, start_id = rule_document.get("pid"), rule_document.get("birth")
    return isinstance(pid, int) and bool(start_id) and processes.start_id(pid) == start_id


def _marked_ago_s(directory: str) -> float:
    try:
        return max(0.0, time.time() - os.stat(os.path.join(directory, PROGRAM_FILE)).st_mtime)
    except OSError:
        return float("inf")


def _detached() -> dict[str, Any]:
    if os.name == "nt":
        return {"creationflags": 0x00000008 | 0x00000200}  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    return {"start_new_session": True}


def _format_duration(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds:g} seconds"


# What setting the clock right moves it by; a suspension lasts longer.
MAX_CLOCK_JUMP_S = 5.0
# Longer than a look, a pause and a try to stop the machine take together.
MAX_CHECK_GAP_S = 180.0


class IdleTimer:
    """Seconds of ``time.monotonic()`` and ``time.time()``. A machine that stood still between two looks was resumed by
    somebody, which is a use."""

    def __init__(self, for_s: float, monotonic: float, wall: float) -> None:
        self._used_at = monotonic - for_s
        self._checked_at, self._clock_offset = monotonic, wall - monotonic

    def idle_s(self, ago_s: float, monotonic: float, wall: float) -> float:
        """``ago_s``: how long ago a use was, as it is seen now."""
        if wall - monotonic - self._clock_offset > MAX_CLOCK_JUMP_S or monotonic - self._checked_at > MAX_CHECK_GAP_S:
            self._used_at = monotonic
        self._checked_at, self._clock_offset = monotonic, wall - monotonic
        self._used_at = max(self._used_at, monotonic - ago_s)
        return monotonic - self._used_at
