"""The kernels of the runtime's server, with environments that were found now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...launcher.remote.reply import ReplyWriter
from . import data_dir, environment_kernels, processes, server, server_client
from .environment_kernels import OfferedKernels
from .environments import EnvironmentSearch
from .login_environment import read_login_environment

LOCK_REASON = "Waiting for another remote-runtime that is using this server"


def refresh(
    running: server.ServerProcess, search: EnvironmentSearch, program: str, reply: ReplyWriter
) -> tuple[OfferedKernels, list[str]]:
    """Offers the environments that ``search`` finds, and returns what the server lists then, and notes. A search that
    has not begun uses the server's variables. The caller has the server's lock."""
    env = processes.read_environment(running.pid) or dict(os.environ)
    if not search.has_begun:
        search.begin(env)
    found = search.result(reply.sleep)
    try:
        return environment_kernels.offer(running, found, env, program), list(found.notes)
    except OSError as exc:
        listed = server_client.list_kernelspecs(running.address, running.token)
        note = f"Environments are no kernels: can't write {exc.filename or running.directory} ({exc.strerror})"
        return OfferedKernels([{**each, "environment": None} for each in listed], []), [*found.notes, note]


def list_kernels(request: Mapping[str, Any], program: str, reply: ReplyWriter) -> dict[str, Any]:
    """``kernels``, ``problems`` and ``notes``. ``attached``: port and token of the user's own server, in which nothing
    is changed. Without a running server: what ``up`` would offer."""
    attached = request.get("attached")
    if attached:
        listed = server_client.list_kernelspecs(attached["port"], attached["token"])
        return {"kernels": [{**each, "environment": None} for each in listed], "problems": [], "notes": []}
    directory, search = data_dir.server_directory(request["key"]), EnvironmentSearch(
        request["kernels"], request["working_dir"]
    )  # fmt: skip
    if server.load(directory) is None:
        login = read_login_environment(reply)
        search.begin(login.env)
        found = search.result(reply.sleep)
        return {**environment_kernels.preview(found)._asdict(), "notes": list(found.notes)}
    with data_dir.locked(os.path.join(directory, data_dir.LOCK), reply, why=LOCK_REASON):
        running = server.find_healthy(directory, reply)
        if running is None:
            return {**environment_kernels.preview(search.result())._asdict(), "notes": []}
        offered, notes = refresh(running, search, program, reply)
    return {**offered._asdict(), "notes": notes}
