"""Handles the client's requests: ``prepare``, ``scheduler``, ``watch``, ``worker``, ``stop``."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
from typing import Any, TextIO

from ...jupyter.remote import data_dir
from ...jupyter.remote.login_environment import read_login_environment
from ...launcher.remote.reply import ClientGone, ReplyWriter, ReportedError
from . import engine, folder, network

PORTS = (20_000, 32_000)
MAX_PORT_ATTEMPTS = 50


def run(request: dict[str, Any], stream: TextIO) -> int:
    """Returns the exit status; writes the replies to ``stream``."""
    reply = ReplyWriter(request["marker"], stream, request["within_s"], request.get("install_s", 0.0))
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))
    handlers = {"prepare": prepare, "scheduler": scheduler, "watch": watch, "worker": worker, "stop": stop}
    try:
        try:
            reply.result(handlers[request["do"]](request, folder.path_of(request["key"]), reply))
        except ReportedError as failure:
            reply.error(failure.error)
            return 1
        except OSError as exc:
            why = f"{exc.filename or data_dir.root_dir()}: {exc.strerror}"
            reply.error(ReportedError("folder-unusable", "Can't use the folder of the cluster", why).error)
            return 1
    except ClientGone:
        return 1
    return 0


def prepare(request: dict[str, Any], directory: str, reply: ReplyWriter) -> dict[str, Any]:
    """Writes the certificates and chooses the scheduler's port, before Jupyter starts: its kernels get both.
    A scheduler with other certificates ends: no client has them any more."""
    is_new = not os.path.isdir(directory)
    with folder.locked(directory, reply):
        if folder.write_credentials(directory, request["credentials"]):
            folder.end(directory)
    return {"port": request["port"] or free_port(), "directory": directory, "created": is_new}


def scheduler(request: dict[str, Any], directory: str, reply: ReplyWriter) -> dict[str, Any]:
    """Finds the scheduler running, or starts it with the Python of the kernels."""
    prepare(request, directory, reply)
    with folder.locked(directory, reply):
        info = folder.load_info(directory)
        if not (folder.is_running(directory) and info.get("port") == request["port"]):
            folder.end(directory)
            reply.progress("Starting Dask's scheduler")
            info = start_scheduler(request, directory, reply)
    return {"versions": info["versions"], "addresses": network.own_addresses()}


def start_scheduler(request: dict[str, Any], directory: str, reply: ReplyWriter) -> dict[str, Any]:
    env = {**read_login_environment(reply).env, **request["env"]}
    python = engine.kernel_python(data_dir.server_directory(request["server_key"]))
    info = {"port": request["port"], "versions": engine.require(python, env)}
    preload = os.path.join(directory, "remote_runtime_scheduler.py")
    data_dir.write_private(preload, request["preload"].replace('DIRECTORY = ""', f"DIRECTORY = {directory!r}"))
    data_dir.write_private(os.path.join(directory, "report.json"), "[]")
    command = [
        python, "-m", "distributed.cli.dask_scheduler", "--protocol", "tls", "--port", str(request["port"]),
        *folder.tls_options(directory), "--dashboard-address", "127.0.0.1:0", "--preload", preload,
    ]  # fmt: skip
    process = folder.start(directory, command, env, os.path.expanduser("~"), info)
    folder.wait_until(process, directory, "Scheduler at:", "the scheduler", reply)
    return info


def watch(request: dict[str, Any], directory: str, reply: ReplyWriter) -> dict[str, Any]:
    """Returns when workers have joined or left since ``seen``, or after ``for_s``."""
    running, report = folder.wait_for_change(directory, request["seen"], reply, request["for_s"])
    return {"running": running, "report": report}


def worker(request: dict[str, Any], directory: str, reply: ReplyWriter) -> dict[str, Any]:
    """Starts the worker; one that runs already is replaced: the scheduler does not have it any more."""
    with folder.locked(directory, reply):
        folder.end(directory)
        folder.write_credentials(directory, request["credentials"])
        env = {**read_login_environment(reply).env, **request["env"]}
        python = engine.choose(request["python"], env, request["versions"])
        address, own = network.find_reachable(request["addresses"], request["port"], directory, reply)
        preload = os.path.join(directory, "remote_runtime_worker.py")
        data_dir.write_private(preload, request["preload"])
        threads = ["--nthreads", str(request["threads"])] if request["threads"] else []
        command = [
            python, "-m", "distributed.cli.dask_worker", network.url(address, request["port"]), "--protocol", "tls",
            *folder.tls_options(directory), "--host", own, "--name", request["name"], "--nworkers", "1", *threads,
            "--memory-limit", request["memory"], "--local-directory", os.path.join(directory, "scratch"),
            "--dashboard-address", "127.0.0.1:0", "--preload", preload, "--death-timeout", "60",
        ]  # fmt: skip
        cwd = os.path.expanduser(request["working_dir"])
        reply.progress("Starting Dask's worker")
        process = folder.start(directory, command, env, cwd if os.path.isdir(cwd) else os.path.expanduser("~"), {})
        folder.wait_until(process, directory, "Registered to:", "the worker", reply)
    return {"address": own, "python": python}


def stop(request: dict[str, Any], directory: str, reply: ReplyWriter) -> dict[str, Any]:
    return {"stopped": folder.remove(directory, reply)}


def free_port() -> int:
    """One that no program of this machine listens on now, below those that the system takes for outgoing
    connections."""
    for _ in range(MAX_PORT_ATTEMPTS):
        port = random.randrange(*PORTS)  # noqa: S311  # a port is no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise ReportedError("cluster-port-in-use", "No port for the scheduler is free on the machine")
