"""The idle watchdog: a separate process that ends the server, or stops the machine, when it is not used any more.

It outlives the tunnel, the user's computer and Jupyter, and starts again after a reboot where cron or systemd allow
that. In the server's directory, ``watchdog.json`` is its rule and program, ``idle.json`` the result of its last check.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

from ...launcher.remote.reply import ReportedError
from . import processes, server
from .data_dir import IDLE, LOG, WATCHDOG_PROGRAM, load_json, write_private
from .request import IdleRule

RULE_FILE, PROGRAM_FILE = "watchdog.json", WATCHDOG_PROGRAM
RETRY_S, START_TIMEOUT_S = 300.0, 15.0
# More than a correction of the clock, less than a suspension.
MAX_CLOCK_JUMP_S = 5.0
# More than a check, a pause and an attempt to stop the machine take together.
MAX_CHECK_GAP_S = 180.0
# watch.py: loads the launcher's modules from watchdog.json, as the launcher does, and runs this one.
PROGRAM_SOURCE = """\
import json, os, sys
sys.path[0:1] = []
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "watchdog.json"), encoding="utf-8") as handle:
    orders = json.load(handle)
names = {"__name__": "remote_runtime_launcher"}
exec(orders["launcher"], names)
sys.exit(names["load"](orders["sources"], "jupyter.remote.idle_watchdog").main(here, orders))
"""


def ensure(directory: str, rule: IdleRule | None, source: dict[str, Any], idle_s: float = 0.0) -> dict[str, Any]:
    """Ensures a watchdog with this rule, or none. ``source``: ``launcher`` and ``sources`` of the request. ``idle_s``:
    for how long nothing was used, for a new watchdog.

    Returns ``how`` the rule will be applied, ``why`` there is no better method, and ``reboot``: what starts the
    watchdog again after a reboot, or empty.
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
    answer = {"how": method.how, "verb": method.verb, "why": method.why, "local_ssd": method.local_ssd}
    answer["reboot"] = autostart.install(os.path.basename(directory), command) if rule.do != "stop-server" else ""
    # SSH sessions count as use only if the server was started over SSH; on this computer they are the user's own.
    new_document = {**wanted, "told": answer, "sessions": "SSH_CONNECTION" in os.environ, "idle_s": idle_s}
    _set_used_at(directory, ago_s=idle_s)
    write_private(os.path.join(directory, RULE_FILE), json.dumps(new_document))
    with open(os.devnull, "r+b") as null:
        child = subprocess.Popen(
            command, cwd="/", stdin=null, stdout=null, stderr=null, **processes.detached_popen_args()
        )
    until = time.monotonic() + START_TIMEOUT_S
    while not _is_running(load_json(os.path.join(directory, RULE_FILE))):
        if child.poll() is not None or time.monotonic() > until:
            end(directory)
            return {**answer, "how": "none", "why": "the watchdog did not start", "reboot": ""}
        time.sleep(0.05)
    return answer


def mark_used(directory: str) -> None:
    """Counts as use: the user ran `up`."""
    _set_used_at(directory, ago_s=0.0)


def _set_used_at(directory: str, *, ago_s: float) -> None:
    at = time.time() - ago_s
    with contextlib.suppress(OSError):
        os.utime(os.path.join(directory, PROGRAM_FILE), (at, at))


def idle_s(directory: str) -> float:
    """For how long nothing was used, by the last check of the running watchdog. 0 if none runs: after a reboot,
    the user may have started the machine."""
    return float(load_json(os.path.join(directory, IDLE)).get("idle_s") or 0.0) if is_running(directory) else 0.0


def end(directory: str) -> None:
    """End the watchdog, and remove what would start it again."""
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
    """Whether a watchdog runs there."""
    return _is_running(load_json(os.path.join(directory, RULE_FILE)))


def stop_reason(directory: str) -> str:
    """Why the watchdog ended the server there; empty if it did not."""
    return str(load_json(os.path.join(directory, IDLE)).get("stopped") or "")


def failure_reason(directory: str) -> str:
    """Why the last attempt to apply the rule failed; empty if there was none, or the machine is in use again."""
    return str(load_json(os.path.join(directory, IDLE)).get("failed") or "")


def main(directory: str, rule_document: dict[str, Any]) -> int:
    """The watchdog process: checks until the rule is applied, or it is replaced. Returns the exit status."""
    if _is_running(rule_document):
        return 0
    from . import activity

    rule = IdleRule(float(rule_document["after_s"]), str(rule_document["do"]))
    _register(directory, os.getpid())
    everywhere = rule.do != "stop-server"
    probe = activity.ActivityProbe(directory, sessions=bool(rule_document["sessions"]), everywhere=everywhere)
    not_before = time.monotonic()
    idle_timer = IdleTimer(float(rule_document["idle_s"]), not_before, time.time())
    failure: str | None = None  # of the last attempt, empty if it was accepted; None before the first
    while load_json(os.path.join(directory, RULE_FILE)).get("pid") == os.getpid():
        try:
            use = probe.check()
        except Exception as exc:  # noqa: BLE001  a failed check must not end the watchdog, and does not count as idle
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
        time.sleep(check_interval_s(rule.after_s))
    return 0


def check_interval_s(after_s: float) -> float:
    """The pause between two checks; the longer the rule waits, the less it matters that one comes late."""
    return max(0.5, min(after_s / 4, 30.0 if after_s < 3600 else 60.0))


def _apply_rule(directory: str, rule: IdleRule, *, accepted: bool) -> str | None:
    """None when the watchdog is done, else why the machine still runs, empty while that is unknown. ``accepted``: the
    last attempt seemed to succeed."""
    why = f"no activity for {_format_duration(rule.after_s)}"
    if rule.do == "stop-server":
        return _end_server(directory, why)
    from . import shutdown

    verb = shutdown.VERBS[rule.do]
    _log(directory, f"{why}: {verb} the machine")
    try:
        failure = shutdown.shut_down(rule.do, accepted=accepted)
    except Exception as exc:  # noqa: BLE001  the machine runs on, and costs: it is tried again
        failure = _error_text(exc)
    if failure:
        _log(directory, f"the machine is still running: {failure}; next attempt in {_format_duration(RETRY_S)}")
    return failure


def _end_server(directory: str, why: str) -> str | None:
    _log(directory, f"{why}: stopping the server and its kernels")
    try:
        server.terminate(directory)
    except Exception as exc:  # noqa: BLE001  the server runs on: it is tried again
        _log(directory, f"the server is still running: {_error_text(exc)}; next attempt in {_format_duration(RETRY_S)}")
        return _error_text(exc)
    _save(directory, {"stopped": why, "at": time.time()})
    return None


def _error_text(exc: Exception) -> str:
    """The message if it is remote-runtime's or the system's; others may contain a secret."""
    text = str(exc) if isinstance(exc, ReportedError) else getattr(exc, "strerror", None)
    return str(text or type(exc).__name__)[:200]


def _log(directory: str, text: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    with contextlib.suppress(OSError), open(os.path.join(directory, LOG), "a", encoding="utf-8") as log:
        log.write(f"[{stamp} remote-runtime] {text}\n")


def _register(directory: str, pid: int) -> None:
    """Saves which process is the watchdog: any other ends itself. The idle time restarts, as after a reboot. Without a
    rule there is nothing to do."""
    path = os.path.join(directory, RULE_FILE)
    rule_document = load_json(path)
    if rule_document:
        write_private(path, json.dumps({**rule_document, "idle_s": 0.0, "pid": pid, "birth": processes.start_id(pid)}))


def _save(directory: str, state: dict[str, Any]) -> None:
    """A full disk must not end the watchdog."""
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


def _format_duration(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds:g} seconds"


class IdleTimer:
    """For how long nothing was used, by ``time.monotonic()`` and ``time.time()``, of which one may stop while the
    machine is suspended. A suspension between two checks counts as use: the user resumed the machine."""

    def __init__(self, for_s: float, monotonic: float, wall: float) -> None:
        self._used_at = monotonic - for_s
        self._checked_at, self._clock_offset = monotonic, wall - monotonic

    def idle_s(self, ago_s: float, monotonic: float, wall: float) -> float:
        """``ago_s``: how long ago the last use was, by this check."""
        if wall - monotonic - self._clock_offset > MAX_CLOCK_JUMP_S or monotonic - self._checked_at > MAX_CHECK_GAP_S:
            self._used_at = monotonic
        self._checked_at, self._clock_offset = monotonic, wall - monotonic
        self._used_at = max(self._used_at, monotonic - ago_s)
        return monotonic - self._used_at
