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
from .data_dir import IDLE, LOG, WATCH, load_json, write_private
from .reply import Failure
from .request import Rule

ORDERS, PROGRAM = "watchdog.json", WATCH
LONGEST_LOOK_S, AGAIN_S, STARTS_WITHIN_S = 30.0, 300.0, 15.0
# watch.py: makes the launcher's modules in memory, as the launcher does, and runs this one.
SOURCE = """\
import json, os, sys
sys.path[0:1] = []
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "watchdog.json"), encoding="utf-8") as handle:
    orders = json.load(handle)
names = {"__name__": "remote_runtime_launcher"}
exec(orders["launcher"], names)
sys.exit(names["load"](orders["sources"], "idle_watchdog").main(here, orders))
"""


def ensure(directory: str, rule: Rule | None, program: dict[str, Any], idle_s: float = 0.0) -> dict[str, Any]:
    """A watchdog with this rule, or none. ``program``: ``launcher`` and ``sources`` of the orders. ``idle_s``: how
    long nothing was used when a new one begins.

    Answers ``how`` it will be done, ``why`` not better, and ``reboot``: what starts it again then, or empty.
    """
    if rule is None:
        end(directory)
        return {}
    known = load_json(os.path.join(directory, ORDERS))
    wanted = {"after_s": rule.after_s, "do": rule.do, **program}
    if all(known.get(name) == value for name, value in wanted.items()) and _lives(known):
        return {**known["told"], "failed": failed(directory)}
    import subprocess

    from . import autostart, shutdown

    end(directory)
    way = shutdown.Way("here", "end") if rule.do == "stop-server" else shutdown.find(rule.do)
    command = [sys.executable, os.path.join(directory, PROGRAM)]
    write_private(os.path.join(directory, PROGRAM), SOURCE)
    hooked = autostart.hook(os.path.basename(directory), command) if rule.do != "stop-server" else ""
    told = {"how": way.how, "verb": way.verb, "why": way.why, "reboot": hooked, "local_ssd": way.local_ssd}
    # A server that was started over SSH is on a machine for which sessions count; here they are the user's own.
    orders = {**wanted, "told": told, "sessions": "SSH_CONNECTION" in os.environ, "idle_s": idle_s}
    _touch(directory, ago_s=idle_s)
    write_private(os.path.join(directory, ORDERS), json.dumps(orders))
    with open(os.devnull, "r+b") as null:
        child = subprocess.Popen(command, cwd="/", stdin=null, stdout=null, stderr=null, **_detached())
    until = time.monotonic() + STARTS_WITHIN_S
    while not _lives(load_json(os.path.join(directory, ORDERS))):
        if child.poll() is not None or time.monotonic() > until:
            end(directory)
            return {**told, "how": "none", "why": "the watchdog did not start", "reboot": ""}
        time.sleep(0.05)
    return told


def touch(directory: str) -> None:
    """A person came back: that is a use."""
    _touch(directory, ago_s=0.0)


def _touch(directory: str, *, ago_s: float) -> None:
    at = time.time() - ago_s
    with contextlib.suppress(OSError):
        os.utime(os.path.join(directory, PROGRAM), (at, at))


def idle_s(directory: str) -> float:
    """How long nothing was used, as the watchdog at work there saw it last. One that a reboot ended does not count:
    somebody may have started the machine since."""
    return float(load_json(os.path.join(directory, IDLE)).get("idle_s") or 0.0) if lives(directory) else 0.0


def end(directory: str) -> None:
    """End it, and what would start it again."""
    orders = load_json(os.path.join(directory, ORDERS))
    if not orders and not os.path.exists(os.path.join(directory, PROGRAM)):
        return
    from . import autostart

    autostart.unhook(os.path.basename(directory))
    if _lives(orders):
        processes.end({int(orders["pid"]): str(orders["birth"])}, 5.0)
    for name in (ORDERS, IDLE, PROGRAM):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


def lives(directory: str) -> bool:
    """Whether a watchdog is at work there."""
    return _lives(load_json(os.path.join(directory, ORDERS)))


def stopped(directory: str) -> str:
    """Why the watchdog has ended the server there; empty if it has not."""
    return str(load_json(os.path.join(directory, IDLE)).get("stopped") or "")


def failed(directory: str) -> str:
    """Why what the rule says could not be done at the last try; empty if it was not tried, or is used again."""
    return str(load_json(os.path.join(directory, IDLE)).get("failed") or "")


def main(directory: str, orders: dict[str, Any]) -> int:
    """The watchdog's life."""
    if _lives(orders):
        return 0
    from . import activity
    from .stillness import Stillness

    rule = Rule(float(orders["after_s"]), str(orders["do"]))
    _note_down(directory, os.getpid())
    everywhere = rule.do != "stop-server"
    looking = activity.Looking(directory, sessions=bool(orders["sessions"]), everywhere=everywhere)
    not_before = time.monotonic()
    stillness = Stillness(float(orders["idle_s"]), not_before, time.time())
    trouble: str | None = None  # of the last try, empty if it was accepted; None before the first
    while load_json(os.path.join(directory, ORDERS)).get("pid") == os.getpid():
        try:
            use = looking.look()
        except Exception as exc:  # noqa: BLE001  a look that fails must not end the watch, and is no proof of idleness
            use = activity.Use(f"unknown: {_kind(exc)}")
        ago_s = 0.0 if use.what else min(use.ago_s, _touched_ago_s(directory))
        lasts_s = stillness.lasts_s(ago_s, time.monotonic(), time.time())
        trouble = None if lasts_s < rule.after_s else trouble
        seen = {"idle_s": round(lasts_s, 1), "use": use.what, "at": time.time()}
        _save(directory, {**seen, "failed": trouble or ""})
        if lasts_s >= rule.after_s and time.monotonic() >= not_before:
            trouble = _act(directory, rule, accepted=trouble == "")
            if trouble is None:
                return 0
            _save(directory, {**seen, "failed": trouble})
            not_before = time.monotonic() + AGAIN_S
        time.sleep(max(0.5, min(LONGEST_LOOK_S, rule.after_s / 4)))
    return 0


def _act(directory: str, rule: Rule, *, accepted: bool) -> str | None:
    """None when the watch is over, else why the machine goes on, empty while it is not known to. ``accepted``: the
    last try seemed to succeed."""
    why = f"nothing was used for {_words(rule.after_s)}"
    if rule.do == "stop-server":
        return _end_server(directory, why)
    from . import shutdown

    verb = shutdown.VERBS[rule.do]
    _say(directory, f"{why}: to {verb} the machine")
    try:
        trouble = shutdown.carry_out(rule.do, accepted=accepted)
    except Exception as exc:  # noqa: BLE001  whatever it was, the machine goes on and costs: it is tried again
        trouble = _kind(exc)
    if trouble:
        _say(directory, f"the machine goes on: {trouble}; another try in {_words(AGAIN_S)}")
    return trouble


def _end_server(directory: str, why: str) -> str | None:
    _say(directory, f"{why}: ending the server and its kernels")
    try:
        server.end(directory)
    except Exception as exc:  # noqa: BLE001  whatever it was, the server goes on: it is tried again
        _say(directory, f"the server goes on: {_kind(exc)}; another try in {_words(AGAIN_S)}")
        return _kind(exc)
    _save(directory, {"stopped": why, "at": time.time()})
    return None


def _kind(exc: Exception) -> str:
    """Its words, where they are ours or the system's; others may have a secret."""
    words = str(exc) if isinstance(exc, Failure) else getattr(exc, "strerror", None)
    return str(words or type(exc).__name__)[:200]


def _say(directory: str, words: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    with contextlib.suppress(OSError), open(os.path.join(directory, LOG), "a", encoding="utf-8") as log:
        log.write(f"[{stamp} remote-runtime] {words}\n")


def _note_down(directory: str, pid: int) -> None:
    """Who watches: only the one that is named goes on, and one that a reboot starts again begins afresh. Without
    orders there is nothing to watch."""
    path = os.path.join(directory, ORDERS)
    orders = load_json(path)
    if orders:
        write_private(path, json.dumps({**orders, "idle_s": 0.0, "pid": pid, "birth": processes.birth(pid)}))


def _save(directory: str, state: dict[str, Any]) -> None:
    """A full disk must not end the watch."""
    with contextlib.suppress(OSError):
        write_private(os.path.join(directory, IDLE), json.dumps(state))


def _lives(orders: dict[str, Any]) -> bool:
    pid, born = orders.get("pid"), orders.get("birth")
    return isinstance(pid, int) and bool(born) and processes.birth(pid) == born


def _touched_ago_s(directory: str) -> float:
    try:
        return max(0.0, time.time() - os.stat(os.path.join(directory, PROGRAM)).st_mtime)
    except OSError:
        return float("inf")


def _detached() -> dict[str, Any]:
    if os.name == "nt":
        return {"creationflags": 0x00000008 | 0x00000200}  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    return {"start_new_session": True}


def _words(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds:g} seconds"
