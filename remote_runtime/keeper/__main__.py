"""The keeper's program: reads its ``LaunchRequest`` from stdin, and ends when there is none."""

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

from .._version import __version__
from ..core import file_lock, open_files
from ..core.access import merge_keys
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, RemoteRuntimeError
from ..core.model import Runtime
from ..core.subprocesses import disable_core_dumps
from ..state import launch, store
from ..state.log_file import log_to_file, open_log
from .keeper import Keeper
from .price import PriceReader
from .requests import RequestQueue
from .runtime_record import RuntimeRecord, now

log = logging.getLogger(__name__)
# Enough for all connections; the limit is handed on to children, some of which go through all numbers up to it.
MAX_OPEN_FILES = 65_536


def main() -> int:
    """Returns only without a request or without the lock; otherwise the process exits here."""
    # paramiko imports it for `Match exec` in its own reader of ~/.ssh/config, which is not used: 125 modules, 7 MB, and
    # 0.1 s of each `up`.
    sys.modules["invoke"] = None  # type: ignore[assignment]
    disable_core_dumps()
    request = launch.receive(sys.stdin.buffer)
    if request is None:
        return 0
    name = request.profile.name
    state = store.open_state_dir(os.environ)
    os.chdir(state.path)
    _redirect_output(state.file_path(name, "log"))
    faulthandler.enable()
    threading.excepthook = _log_thread_exception
    allow_many_files()
    log_to_file(state.file_path(name, "log"))
    try:
        with file_lock.locked(state.file_path(name, "alive"), Deadline(2.0)):
            _exit_holding_lock(_run(state, name, request))
    except DeadlinePassed:
        log.info("another keeper is already running for %s", name)
        return 0


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    """Logs a shortage of file descriptors without a traceback: it is no bug, in a library's thread neither."""
    if args.exc_value is not None and open_files.reported_shortage(args.exc_value) is not None:
        log.warning("a thread ended: %s", args.exc_value)
    else:
        threading.__excepthook__(args)


def _redirect_output(log: Path) -> None:
    """Sends stdout and stderr to the log: Python and libraries write there."""
    with os.fdopen(open_log(log, os.O_WRONLY | os.O_APPEND)) as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def allow_many_files() -> None:
    """Raises the limit of open files: each browser connection takes a few, and desktops allow 256 (macOS) or 1024."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.info("can't raise the limit of open files (%d): %s", soft, error)


def _exit_holding_lock(code: int) -> NoReturn:
    """The kernel releases the lock at exit, so its next holder knows that this process is gone."""
    logging.shutdown()
    os._exit(code)


def _run(state: store.StateDir, name: str, request: launch.LaunchRequest) -> int:
    profile, requests = request.profile, RequestQueue()
    for end in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, end), lambda *_: requests.terminate())
    last_run = store.load_last_run(state, name)
    # Saved before anything is put on the machine, so that `down --purge` finds it.
    store.save_last_run(state, name, replace(last_run, folder=True))
    leftover = _load_leftover(state, name)
    left = leftover or Runtime(
        name=name,
        profile_path=str(profile.path),
        profile_text=request.profile_text,
        target=profile.target_fields(),
        client_id=last_run.client_id,
        unfinished=True,
    )
    runtime = Runtime(
        name=name,
        profile_path=left.profile_path,
        profile_text=left.profile_text,
        target=left.target,
        client_id=left.client_id,
        instance=left.instance,
        server=left.server,
        unfinished=left.unfinished,
        resources=left.resources,
        price=left.price,
        price_since=left.price_since,
        cluster=left.cluster,
        keys=merge_keys(leftover.keys if leftover else (), last_run.keys),
        folder=last_run.folder,
        keeper_pid=os.getpid(),
        since=now(),
        tool_version=__version__,
    )
    keeper = Keeper(
        state=state,
        profile=profile,
        profile_text=request.profile_text,
        environ=dict(os.environ),
        record=RuntimeRecord(state, runtime),
        requests=requests,
        remembered_port=leftover.local_port if leftover and leftover.local_port else last_run.local_port,
        within_s=request.timeout_s,
        overrides=dict(request.overrides),
        consent=request.consent,
    )
    keeper.record.on_instance = PriceReader(keeper.record, keeper.target).follow
    if sys.platform != "win32":
        signal.signal(signal.SIGCONT, lambda *_: keeper.resources.on_continued())
    log.info("keeper %d of %s, remote-runtime %s", os.getpid(), name, __version__)
    try:
        keeper.run()
    except RemoteRuntimeError as error:
        log.error("%s: %s", error.code, error)
        return 1
    except Exception as error:
        if (cause := open_files.reported_shortage(error)) is not None:
            log.error("%s: %s", cause.code, cause)
            return 1
        log.exception("internal error")
        return 3
    log.info("the keeper exits")
    return 0


def _load_leftover(state: store.StateDir, name: str) -> Runtime | None:
    """The runtime that a keeper left when it died. A state file that cannot be read is replaced."""
    try:
        return store.load(state, name)
    except RemoteRuntimeError as error:
        log.warning("%s", error)
        return None
