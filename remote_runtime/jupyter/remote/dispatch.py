"""Carries out the client's orders: ``ensure``, ``stop``, ``purge``, ``servers``, ``log``.

What a look at a healthy server does not need is imported where it is: each module is compiled at its first import.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from typing import Any, TextIO

from . import gpus, host, idle_watchdog, server
from .data_dir import (
    CONFIG,
    INFO,
    LOCK,
    forget_content,
    is_locked,
    load_json,
    locked,
    our_folder,
    remove_server,
    remove_unused,
    server_directories,
    server_directory,
)
from .kernelspecs import kernelspecs, trouble
from .reply import Answers, Failure, Hung
from .request import Wish, load_wish

BEGINS_S = 1.0
WAITING = "Waiting for another remote-runtime that works on this server"


def run(orders: dict[str, Any], stream: TextIO) -> int:
    """The exit status. Everything else goes to ``stream`` as answers."""
    answers = Answers(orders["marker"], stream, orders["within_s"])
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _leave)
    try:
        try:
            _do(orders, answers)
        except Failure as failure:
            answers.error(failure.error)
            return 1
        except OSError as exc:
            answers.error(_explain(exc).error)
            return 1
    except Hung:
        return 1
    return 0


def ensure(directory: str, wish: Wish, answers: Answers) -> None:
    """Answers the server. One that was started in vain, because nobody listens any more, is ended again.

    A server of ours that lives is kept, though the profile may name one to attach to by now.
    """
    host.refuse_elsewhere(directory)
    if wish.attach and not server.load(directory):
        stop(directory, answers)
        answers.result(_attached(wish.attach, answers))
        return
    with locked(os.path.join(directory, LOCK), answers, why=WAITING):
        host.refuse_elsewhere(directory)  # another machine may have held the lock
        running = server.find_healthy(directory, answers)
        if running is None and not wish.person:
            _refuse_what_was_idle(directory)
        if wish.person:
            idle_watchdog.touch(directory)
        if running and wish.renew:
            running = _renewed(running)
        if running:
            known = running.info.get("gpus")
            seen = gpus.Seen(known) if known else _looked(directory, answers)
            answers.result(_described(running, wish, seen, started=False))
            return
        try:
            from .start import start

            # A repair is no use: a Jupyter that dies again and again must not keep the machine from being stopped.
            former = _ended(directory)
            idle_s = 0.0 if wish.person else idle_watchdog.idle_s(directory)
            idle_watchdog.end(directory)
            with gpus.Looking() as looking:
                running = start(directory, wish, answers)
                seen = _noted(directory, looking.seen(answers))
            answers.result({**_described(running, wish, seen, started=True, idle_s=idle_s), "former": former})
        except BaseException:
            idle_watchdog.end(directory)
            server.end(directory)
            remove_server(directory)
            remove_unused(answers)
            raise


def stop(directory: str, answers: Answers, *, spare_busy: bool = False, attempt: str = "") -> dict[str, Any]:
    """``stopped``, or ``gone``: it had ended before. In both cases nothing of it is left. ``busy``: it was spared, and
    ``why``. ``attempt``: only what this one started, with the folder that it made; another's is ``gone``, too."""
    until = time.monotonic() + (BEGINS_S if attempt else 0.0)
    while not os.path.isdir(directory):  # a start that was sent a moment ago may not have come that far
        if time.monotonic() >= until:
            return {"stopped": "gone"}
        time.sleep(0.05)
    with locked(os.path.join(directory, LOCK), answers, why=WAITING):
        known = load_json(os.path.join(directory, INFO))
        is_new = os.listdir(directory) == [LOCK]  # a start that ended meanwhile took the folder away, and we made it
        if attempt and known.get("attempt") != attempt and not is_new:
            return {"stopped": "gone"}
        host.refuse_elsewhere(directory)
        running = server.load(directory) if spare_busy else None
        why = server.at_work(running) if running else ""
        if why:
            return {"stopped": "busy", "why": why}
        answers.say("Stopping Jupyter")
        idle_watchdog.end(directory)
        lived = server.end(directory)
        remove_server(directory)
        if attempt:
            forget_content(str(known.get("content") or ""))
    remove_unused(answers)
    return {"stopped": "stopped" if lived else "gone"}


def purge(answers: Answers) -> dict[str, Any]:
    """Remove our whole folder, unless servers run or start there: other computers' are named, not ended."""
    alive = [
        directory
        for directory in server_directories()
        if server.load(directory) or idle_watchdog.lives(directory) or is_locked(os.path.join(directory, LOCK))
    ]
    named = [os.path.basename(directory) for directory in alive]
    for directory in server_directories():
        other = host.elsewhere(directory)
        if other:
            named.append(f"{os.path.basename(directory)} on {other}")
    if named:
        return {"purged": False, "alive": named}
    from . import autostart, runtime_dir

    for directory in server_directories():
        idle_watchdog.end(directory)
        runtime_dir.remove(directory)
    autostart.stop_lingering()
    shutil.rmtree(our_folder(), ignore_errors=True)
    return {"purged": not os.path.exists(our_folder()), "alive": []}


def servers() -> list[dict[str, Any]]:
    """All servers of ours that run for this account, other computers' too. ``since``: seconds since the epoch."""
    return [
        {
            "key": os.path.basename(directory),
            "pid": running.pid,
            "since": os.stat(os.path.join(directory, CONFIG)).st_mtime,
        }
        for directory in server_directories()
        for running in [server.load(directory)]
        if running
    ]


def log(directory: str, offset: int | None, limit: int) -> dict[str, Any]:
    text, following = server.read_log(directory, offset, limit)
    token = server.token_in(directory)
    return {"text": text.replace(token, "[token]") if token else text, "offset": following}


def _do(orders: dict[str, Any], answers: Answers) -> None:
    if orders["do"] == "ensure":
        ensure(server_directory(orders["key"]), load_wish(orders), answers)
    elif orders["do"] == "stop":
        spares = {"spare_busy": orders["spare_busy"], "attempt": orders.get("attempt", "")}
        ended = stop(server_directory(orders["key"]), answers, **spares)
        answers.result({**ended, "folder": os.path.isdir(our_folder())})
    elif orders["do"] == "purge":
        answers.result(purge(answers))
    elif orders["do"] == "servers":
        answers.result({"servers": servers()})
    else:
        answers.result(log(server_directory(orders["key"]), orders["offset"], orders["limit"]))


def _ended(directory: str) -> str:
    """What became of the machine since the server was started that ended unasked: ``same``, ``restarted``,
    ``unknown``; empty where there was none."""
    info = load_json(os.path.join(directory, INFO))
    return (host.since_then(info) or "unknown") if info.get("pid") else ""


def _refuse_what_was_idle(directory: str) -> None:
    """A repair must not start again what was ended on purpose."""
    why = idle_watchdog.stopped(directory)
    if why:
        raise Failure("stopped-when-idle", "Jupyter was ended on the machine, as the profile's idle says", why)


def _attached(wanted: dict[str, Any], answers: Answers) -> dict[str, Any]:
    from .attach import attach
    from .runtime_files import environment_of

    with gpus.Looking() as looking:
        found = attach(wanted["port"], wanted["token_file"], answers)
        seen = looking.seen(answers)
    specs = kernelspecs(found.port, found.token)
    notes = [*found.notes, *([seen.trouble] if seen.trouble else []), *trouble(specs, environment_of(found.pid))]
    return {"attached": True, **vars(found), "gpus": seen.gpus, "notes": notes, "kernelspecs": specs}


def _renewed(running: server.Running) -> server.Running:
    """With a new token; where the bridge of an older version cannot do that, with a note."""
    renewed = server.renewed(running)
    if renewed:
        return renewed
    note = ("the running Jupyter has an older bridge and keeps its token, which another program may know: "
            "`remote-runtime down` and `up` give a new one")  # fmt: skip
    return running._replace(info={**running.info, "notes": [*running.info.get("notes", []), note]})


def _looked(directory: str, answers: Answers) -> gpus.Seen:
    with gpus.Looking() as looking:
        return _noted(directory, looking.seen(answers))


def _noted(directory: str, seen: gpus.Seen) -> gpus.Seen:
    """GPUs that were seen once are not looked for again: the next start of Jupyter does."""
    if seen.gpus:
        server.note_down(directory, {"gpus": seen.gpus})
    return seen


def _described(
    running: server.Running, wish: Wish, seen: gpus.Seen, *, started: bool, idle_s: float = 0.0
) -> dict[str, Any]:
    known = running.info.get("digests", {})
    specs = kernelspecs(running.place, running.token)
    return {
        "port": running.info.get("port"), "socket": running.info.get("socket"),
        "pid": running.pid, "token": running.token, "directory": running.directory,
        "started_by_us": started, "jupyter_server": running.info["jupyter_server"],
        "bridge": running.info["bridge"], "python": running.info["python"],
        "interpreter": running.info["interpreter"], "gpus": seen.gpus,
        "kernelspecs": specs,
        "notes": [
            *running.info.get("notes", []),
            *([seen.trouble] if seen.trouble else []),
            *trouble(specs, {"JUPYTER_PATH": os.path.join(running.directory, "data")}),
        ],
        "idle": idle_watchdog.ensure(running.directory, wish.idle, wish.program, idle_s),
        "needs_restart": [key for key, digest in wish.digests().items() if known.get(key) != digest],
    }  # fmt: skip


def _explain(exc: OSError) -> Failure:
    path = str(exc.filename or our_folder())
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure("disk-full", "The machine's disk is full", "no space left for " + path)
    if isinstance(exc, FileNotFoundError) and exc.filename and not os.path.dirname(path):
        return Failure("program-missing", "The machine has no " + path, "it is not on the PATH there")
    return Failure("folder-unusable", "Our folder on the machine cannot be used", f"{path}: {exc.strerror}")


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)
