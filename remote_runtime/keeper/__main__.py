"""The ``errand`` comes on stdin. None may come."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from .. import ssh
from .._version import __version__
from ..core import file_lock
from ..core.access import in_one
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, RemoteRuntimeError
from ..core.model import Runtime
from ..core.subprocesses import leave_no_core
from ..state import launch_request, store
from ..state.log_file import keep_log, open_log
from ..targets.gce import Machines
from ..tunnel import open_files
from .control_server import OVERRIDES
from .keeper import Keeper
from .requests import Orders
from .runtime_record import Record, now, target_of

log = logging.getLogger(__name__)
# Enough for all connections; the limit is handed on to children, some of which go through all numbers up to it.
MOST_FILES = 65_536


def main() -> int:
    """Only a keeper that got no order, or not the lock, returns."""
    leave_no_core()
    given = launch_request.receive(sys.stdin.buffer)
    if given is None:
        return 0
    name = given.profile.name
    state = store.open_state(os.environ)
    os.chdir(state.path)
    _write_to(state.of(name, "log"))
    faulthandler.enable()
    threading.excepthook = _hear_of_a_thread
    allow_many_files()
    keep_log(state.of(name, "log"))
    try:
        with file_lock.held(state.of(name, "alive"), Deadline(2.0)):
            _end_with_the_lock(_live(state, name, given))
    except DeadlinePassed:
        log.info("another keeper already lives for %s", name)
        return 0


def _hear_of_a_thread(args: threading.ExceptHookArgs) -> None:
    """That no file can be opened is no bug, in a thread of a library neither."""
    if args.exc_value is not None and open_files.is_told(args.exc_value) is not None:
        log.warning("a thread ended: %s", args.exc_value)
    else:
        threading.__excepthook__(args)


def _write_to(log: Path) -> None:
    """What Python itself, or a library, writes goes to the log, too."""
    with os.fdopen(open_log(log, os.O_WRONLY | os.O_APPEND)) as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def allow_many_files() -> None:
    """Each connection of a browser takes a few: a desktop's usual 256 (macOS) or 1024 would soon be used up."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.info("only %d files may be open: %s", soft, error)


def _end_with_the_lock(code: int) -> NoReturn:
    """Whoever gets the lock after us may rely on it that this process is gone, not that it is about to go."""
    logging.shutdown()
    os._exit(code)


def _live(state: store.StateDir, name: str, given: launch_request.Errand) -> int:
    profile, message, orders = given.profile, given.message, Orders()
    for end in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, end), lambda *_: orders.terminate())
    known = store.remembered(state, name)
    # What is put on the machine is found again, whatever comes now.
    store.remember(state, name, replace(known, folder=True))
    left = _left_behind(state, name)
    runtime = Runtime(
        name=name,
        profile_path=left.profile_path if left else str(profile.path),
        profile_text=left.profile_text if left else given.profile_text,
        target=left.target if left else target_of(profile),
        client_id=left.client_id if left else known.client_id,
        instance=left.instance if left else None,
        server=left.server if left else None,
        unfinished=left.unfinished if left else True,
        keys=in_one(left.keys if left else (), known.keys),
        folder=known.folder,
        keeper_pid=os.getpid(),
        since=now(),
        tool_version=__version__,
    )
    machines = Machines(state, dict(os.environ), ssh.Keys())
    within_s = message.get("within_s")
    keeper = Keeper(
        state=state,
        profile=profile,
        profile_text=given.profile_text,
        machines=machines,
        record=Record(state, runtime),
        orders=orders,
        remembered_port=left.local_port if left and left.local_port else known.local_port,
        within_s=float(within_s) if isinstance(within_s, (int, float)) else None,
        overrides={key: message[key] for key in OVERRIDES if message.get(key)},
    )
    log.info("keeper %d of %s, remote-runtime %s", os.getpid(), name, __version__)
    try:
        keeper.live()
    except RemoteRuntimeError as error:
        log.error("%s: %s", error.code, error)
        return 1
    except Exception as error:
        if (cause := open_files.is_told(error)) is not None:
            log.error("%s: %s", cause.code, cause)
            return 1
        log.exception("a bug of ours")
        return 3
    log.info("the keeper ends")
    return 0


def _left_behind(state: store.StateDir, name: str) -> Runtime | None:
    """What a keeper that died did not take away. A file that cannot be read is replaced."""
    try:
        return store.load(state, name)
    except RemoteRuntimeError as error:
        log.warning("%s", error)
        return None
