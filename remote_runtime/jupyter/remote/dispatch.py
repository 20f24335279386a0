"""Handles the client's requests: ``ensure``, ``stop``, ``purge``, ``servers``, ``log``, ``kernels``.

Modules that finding a healthy server does not need are imported late: each is compiled when it is imported.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Dict, List, TextIO, Tuple  # noqa: UP035  # an alias is evaluated on Python 3.8

from ...launcher.remote.reply import ClientGone, ReplyWriter, ReportedError
from . import data_dir, gpus, host, idle_watchdog, server
from .request import LaunchSpec, kernel_program, load_spec
from .server_client import list_kernelspecs, missing_kernel_notes

if TYPE_CHECKING:
    from .environments import EnvironmentSearch

Kernels = Tuple[List[Dict[str, Any]], List[str]]  # noqa: UP006
START_WINDOW_S = 1.0
WAITING_FOR_LOCK = "Waiting for another remote-runtime that is using this server"


def run(request: dict[str, Any], stream: TextIO) -> int:
    """Returns the exit status; writes the replies to ``stream``."""
    reply = ReplyWriter(request["marker"], stream, request["within_s"], request.get("install_s", 0.0))
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _exit_on_signal)
    try:
        try:
            _dispatch(request, reply)
        except ReportedError as failure:
            reply.error(failure.error)
            return 1
        except OSError as exc:
            reply.error(_os_failure(exc).error)
            return 1
    except ClientGone:
        return 1
    return 0


def ensure(directory: str, spec: LaunchSpec, reply: ReplyWriter) -> None:
    """Replies with the server. A newly started one is stopped if the client disconnected meanwhile.

    A running server of the runtime is kept even if the profile names a server to attach to by now.
    """
    host.refuse_other_host(directory)
    if spec.attach and not server.load(directory):
        stop(directory, reply)
        reply.result(_attach(spec.attach, reply))
        return
    with data_dir.locked(os.path.join(directory, data_dir.LOCK), reply, why=WAITING_FOR_LOCK):
        host.refuse_other_host(directory)  # another machine may have had the lock
        running = server.find_healthy(directory, reply)
        if running is None and not spec.person:
            _refuse_idle_stopped(directory)
        if spec.person:
            idle_watchdog.mark_used(directory)
        if running and spec.renew:
            running = _renew_token(running)
        if running:
            known_gpus = running.info.get("gpus")
            gpu_result = gpus.GpuResult(known_gpus) if known_gpus else _probe_gpus(directory, reply)
            kernels = _refresh_kernels(running, spec, reply) if spec.person else None
            reply.result(_describe(running, spec, gpu_result, kernels, started=False))
            return
        try:
            from .environments import EnvironmentSearch
            from .start import start

            # A reconnect does not count as use: else a Jupyter that keeps dying would keep the machine running.
            machine_state = _machine_since_end(directory)
            idle_s = 0.0 if spec.person else idle_watchdog.idle_s(directory)
            idle_watchdog.end(directory)
            search = EnvironmentSearch(spec.kernels, spec.working_dir)
            with gpus.GpuProbe() as gpu_probe:
                running = start(directory, spec, reply, on_login=search.begin)
                gpu_result = _remember_gpus(directory, gpu_probe.result(reply))
            kernels = _refresh_kernels(running, spec, reply, search)
            description = _describe(running, spec, gpu_result, kernels, started=True, idle_s=idle_s)
            reply.result({**description, "former": machine_state})
        except BaseException:
            idle_watchdog.end(directory)
            server.terminate(directory)
            data_dir.remove_server(directory)
            data_dir.remove_unused(reply)
            raise


def stop(directory: str, reply: ReplyWriter, *, refuse_if_busy: bool = False, attempt: str = "") -> dict[str, Any]:
    """``stopped``, or ``gone``: it had ended before. Nothing of it is left in both cases. ``busy``: it was kept, and
    ``why``. ``attempt``: stop only what this attempt started; a server of another one counts as ``gone``."""
    until = time.monotonic() + (START_WINDOW_S if attempt else 0.0)
    while not os.path.isdir(directory):  # a start may have been requested just before
        if time.monotonic() >= until:
            return {"stopped": "gone"}
        time.sleep(0.05)
    with data_dir.locked(os.path.join(directory, data_dir.LOCK), reply, why=WAITING_FOR_LOCK):
        info = data_dir.load_json(os.path.join(directory, data_dir.INFO))
        is_new = os.listdir(directory) == [data_dir.LOCK]  # made by this lock, after the start removed it
        if attempt and info.get("attempt") != attempt and not is_new:
            return {"stopped": "gone"}
        host.refuse_other_host(directory)
        running = server.load(directory) if refuse_if_busy else None
        why = server.busy_reason(running) if running else ""
        if why:
            return {"stopped": "busy", "why": why}
        reply.progress("Stopping Jupyter")
        idle_watchdog.end(directory)
        was_running = server.terminate(directory)
        data_dir.remove_server(directory)
        if attempt:
            data_dir.remove_content_dir(str(info.get("content") or ""))
    data_dir.remove_unused(reply)
    return {"stopped": "stopped" if was_running else "gone"}


def purge(reply: ReplyWriter) -> dict[str, Any]:
    """Remove the remote-runtime directory, unless servers run or start there: they are listed, not stopped."""
    alive, elsewhere = [], []
    for directory in data_dir.server_directories():
        name, other = os.path.basename(directory), host.other_host(directory)
        is_locked = data_dir.is_locked(os.path.join(directory, data_dir.LOCK))
        if is_locked or server.load(directory) or idle_watchdog.is_running(directory):
            alive.append(name)
        if other:
            elsewhere.append(f"{name} on {other}")
    alive += data_dir.running_clusters()
    if alive or elsewhere:
        return {"purged": False, "alive": [*alive, *elsewhere]}
    from . import autostart, runtime_dir

    for directory in data_dir.server_directories():
        idle_watchdog.end(directory)
        runtime_dir.remove(directory)
    autostart.disable_user_units()
    shutil.rmtree(data_dir.root_dir(), ignore_errors=True)
    return {"purged": not os.path.exists(data_dir.root_dir()), "alive": []}


def servers() -> list[dict[str, Any]]:
    """All remote-runtime servers of this account, also those of other computers. ``since``: seconds since the epoch."""
    found = []
    for directory in data_dir.server_directories():
        running = server.load(directory)
        if running:
            since = os.stat(os.path.join(directory, data_dir.CONFIG)).st_mtime
            found.append({"key": os.path.basename(directory), "pid": running.pid, "since": since})
    return found


def log(directory: str, offset: int | None, limit: int) -> dict[str, Any]:
    text, next_offset = server.read_log(directory, offset, limit)
    token = server.read_token(directory)
    return {"text": text.replace(token, "[token]") if token else text, "offset": next_offset}


def _dispatch(request: dict[str, Any], reply: ReplyWriter) -> None:
    if request["do"] == "ensure":
        ensure(data_dir.server_directory(request["key"]), load_spec(request), reply)
    elif request["do"] == "stop":
        directory, attempt = data_dir.server_directory(request["key"]), request.get("attempt", "")
        outcome = stop(directory, reply, refuse_if_busy=request["spare_busy"], attempt=attempt)
        reply.result({**outcome, "folder": os.path.isdir(data_dir.root_dir())})
    elif request["do"] == "purge":
        reply.result(purge(reply))
    elif request["do"] == "servers":
        reply.result({"servers": servers()})
    elif request["do"] == "kernels":
        from .kernel_list import list_kernels

        reply.result(list_kernels(request, kernel_program(request), reply))
    else:
        reply.result(log(data_dir.server_directory(request["key"]), request["offset"], request["limit"]))


def _machine_since_end(directory: str) -> str:
    """Whether the machine restarted since the last server, which ended by itself: ``same``, ``restarted``, ``unknown``;
    empty if there was none."""
    info = data_dir.load_json(os.path.join(directory, data_dir.INFO))
    return (host.machine_since(info) or "unknown") if info.get("pid") else ""


def _refuse_idle_stopped(directory: str) -> None:
    """A reconnect must not start a server that the watchdog ended."""
    why = idle_watchdog.stop_reason(directory)
    if why:
        raise ReportedError("stopped-when-idle", "Jupyter was stopped on the machine by the idle watchdog", why)


def _attach(attach_spec: dict[str, Any], reply: ReplyWriter) -> dict[str, Any]:
    from .attach import attach, process_environment

    with gpus.GpuProbe() as gpu_probe:
        attached = attach(attach_spec["port"], attach_spec["token_file"], reply)
        gpu_result = gpu_probe.result(reply)
    specs = list_kernelspecs(attached.port, attached.token)
    notes = _notes(attached.notes, gpu_result, specs, process_environment(attached.pid))
    return {"attached": True, **vars(attached), "gpus": gpu_result.gpus, "notes": notes, "kernelspecs": specs}


def _notes(
    notes: list[str], gpu_result: gpus.GpuResult, specs: list[dict[str, str]], env: Mapping[str, str]
) -> list[str]:
    return [*notes, *filter(None, [gpu_result.problem]), *missing_kernel_notes(specs, env)]


def _renew_token(running: server.ServerProcess) -> server.ServerProcess:
    """With a new token, or with a note if its bridge is too old for that."""
    renewed = server.renew_token(running)
    if renewed:
        return renewed
    note = ("The running Jupyter has an older bridge and keeps its token, which another program may know. "
            "`remote-runtime down` and `up` give a new one")  # fmt: skip
    return running._replace(info={**running.info, "notes": [*running.info.get("notes", []), note]})


def _probe_gpus(directory: str, reply: ReplyWriter) -> gpus.GpuResult:
    with gpus.GpuProbe() as gpu_probe:
        return _remember_gpus(directory, gpu_probe.result(reply))


def _remember_gpus(directory: str, gpu_result: gpus.GpuResult) -> gpus.GpuResult:
    """Saves GPUs that were found, so that they are probed again only when Jupyter starts again."""
    if gpu_result.gpus:
        server.add_info(directory, {"gpus": gpu_result.gpus})
    return gpu_result


def _refresh_kernels(
    running: server.ServerProcess, spec: LaunchSpec, reply: ReplyWriter, search: EnvironmentSearch | None = None
) -> Kernels:
    """What Jupyter lists with the environments that are kernels, and notes."""
    from .environments import EnvironmentSearch
    from .kernel_list import refresh

    search = search or EnvironmentSearch(spec.kernels, spec.working_dir)
    offered, notes = refresh(running, search, spec.kernel_program, reply)
    return offered.kernels, notes


def _describe(
    running: server.ServerProcess,
    spec: LaunchSpec,
    gpu_result: gpus.GpuResult,
    kernels: Kernels | None,
    *,
    started: bool,
    idle_s: float = 0.0,
) -> dict[str, Any]:
    """``kernels``: None if environments were not searched."""
    known_digests, env = running.info.get("digests", {}), {"JUPYTER_PATH": os.path.join(running.directory, "data")}
    specs, notes = kernels or (list_kernelspecs(running.address, running.token), [])
    notes = [*running.info.get("notes", []), *notes]
    return {
        "port": running.info.get("port"), "socket": running.info.get("socket"),
        "pid": running.pid, "token": running.token, "directory": running.directory,
        "started_by_us": started, "jupyter_server": running.info["jupyter_server"],
        "bridge": running.info["bridge"], "python": running.info["python"],
        "interpreter": running.info["interpreter"], "gpus": gpu_result.gpus,
        "kernelspecs": specs, "missing_packages": running.info.get("missing_packages", []),
        "notes": _notes(notes, gpu_result, specs, env),
        "idle": idle_watchdog.ensure(running.directory, spec.idle, spec.watchdog_source, idle_s),
        "needs_restart": [key for key, digest in spec.key_digests().items() if known_digests.get(key) != digest],
    }  # fmt: skip


def _os_failure(exc: OSError) -> ReportedError:
    path = str(exc.filename or data_dir.root_dir())
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return ReportedError("disk-full", "The machine's disk is full", "no space left for " + path)
    if isinstance(exc, FileNotFoundError) and exc.filename and not os.path.dirname(path):
        return ReportedError("program-missing", f"{path} is not installed on the machine", "it is not on PATH there")
    return ReportedError(
        "folder-unusable", "Can't use the remote-runtime directory on the machine", f"{path}: {exc.strerror}"
    )


def _exit_on_signal(number: int, frame: object) -> None:
    sys.exit(128 + number)
