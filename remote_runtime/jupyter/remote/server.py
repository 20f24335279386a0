"""Finds the server that was started in a server directory, renews its token, ends it with all that it started."""

from __future__ import annotations

import json
import os
import time
from typing import Any, NamedTuple

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import processes, runtime_dir, server_client
from .data_dir import CONFIG, INFO, LOG, NEXT_TOKEN, load_json, write_private

TERMINATE_WAIT_S = 10.0
REPLY_TIMEOUT_S = 20.0


class ServerProcess(NamedTuple):
    """A running server. ``info``: the content of its INFO file."""

    directory: str
    pid: int
    address: int | str
    token: str
    info: dict[str, Any]


def load(directory: str) -> ServerProcess | None:
    """The server recorded there if its process still runs; a pid that was reused does not count."""
    info = load_json(os.path.join(directory, INFO))
    pid, address, start_id = info.get("pid"), info.get("socket") or info.get("port"), info.get("birth")
    if isinstance(pid, int) and isinstance(address, (int, str)) and start_id and processes.start_id(pid) == start_id:
        return ServerProcess(directory, pid, address, read_token(directory), info)
    return None


def read_token(directory: str) -> str:
    """From the server's configuration, mode 0600: the only file with the token. Empty if there is none."""
    sections = load_json(os.path.join(directory, CONFIG)).values()
    tokens = [section["token"] for section in sections if isinstance(section, dict) and section.get("token")]
    return str(tokens[0]) if tokens else ""


def renew_token(running: ServerProcess) -> ServerProcess | None:
    """The same server with a new token and its kernels; None when its bridge is too old for that.

    The new token is written to disk before the server gets it, so that the valid one is found after a crash. Raises
    ``ReportedError`` ``jupyter-stuck``.
    """
    from secrets import token_hex  # imports random, which finding a healthy server does not need

    directory, token = running.directory, token_hex(24)
    write_private(os.path.join(directory, NEXT_TOKEN), token)
    try:
        status = server_client.change_token(running.address, running.token, token, REPLY_TIMEOUT_S)
    except (OSError, ValueError) as exc:
        raise stuck_error(running, f"it did not accept a new token: {exc}") from exc
    if status == 204:
        return _store_token(running, token)
    os.unlink(os.path.join(directory, NEXT_TOKEN))
    return None


def _store_token(running: ServerProcess, token: str) -> ServerProcess:
    path = os.path.join(running.directory, CONFIG)
    config = load_json(path)
    for section in config.values():
        if isinstance(section, dict) and section.get("token"):
            section["token"] = token
    write_private(path, json.dumps(config))
    os.unlink(os.path.join(running.directory, NEXT_TOKEN))
    return running._replace(token=token)


def _recover_renewed_token(running: ServerProcess) -> ServerProcess | None:
    """If an earlier launcher was ended after it gave the server a new token, and before it saved that."""
    token = processes.read_text(os.path.join(running.directory, NEXT_TOKEN))
    if token and server_client.check_identity(running.address, token, timeout_s=3.0) == "ours":
        return _store_token(running, token)
    return None


def stuck_error(running: ServerProcess, why: str) -> ReportedError:
    return ReportedError(
        "jupyter-stuck",
        f"Jupyter is running on the machine (pid {running.pid}) but does not respond",
        why,
        "Wait until it responds, or stop it with its kernels: `remote-runtime down PROFILE --force`",
    )


def add_info(directory: str, facts: dict[str, Any]) -> None:
    """Adds ``facts`` to the server's INFO file."""
    path = os.path.join(directory, INFO)
    write_private(path, json.dumps({**load_json(path), **facts}))


def find_healthy(directory: str, reply: ReplyWriter, within_s: float = REPLY_TIMEOUT_S) -> ServerProcess | None:
    """The running server that proved its identity within that time, None when it ended.

    Raises ``ReportedError`` ``jupyter-stuck`` when it runs but does not answer: only the user may end it with its
    kernels.
    """
    until = time.monotonic() + within_s
    reported = False
    while True:
        running = load(directory)
        if running is None:
            return None
        verdict = server_client.check_identity(
            running.address, running.token, timeout_s=min(3.0, max(0.5, until - time.monotonic()))
        )
        if verdict == "ours":
            return running
        if verdict == "stranger" and (healthy := _recover_renewed_token(running)):
            return healthy
        if time.monotonic() >= until or reply.remaining_s() < 1.0:
            raise stuck_error(running, tail_log(directory, running.token))
        if not reported:
            reply.progress("Waiting for the running Jupyter to respond")
            reported = True
        reply.sleep(0.5)


def busy_reason(running: ServerProcess) -> str:
    """Why it must not be stopped now, for people: a busy kernel, or a server that does not report it. Empty if it can
    be stopped."""
    if server_client.check_identity(running.address, running.token, timeout_s=5.0) != "ours":
        return "Jupyter does not respond, and its kernels may be busy"
    status = server_client.get_json(running.address, running.token, "/api/remote-runtime", timeout_s=10.0)
    kernels = status.get("kernels")
    if not isinstance(kernels, list):
        return "Jupyter does not report whether its kernels are busy"
    busy = sum(isinstance(kernel, dict) and kernel.get("state") == "busy" for kernel in kernels)
    return f"{busy} kernels are busy" if busy > 1 else "a kernel is busy" if busy else ""


def terminate(directory: str) -> bool:
    """End the server there, its kernels, and leftovers of a server that died. Returns whether it ran.

    Raises ``ReportedError`` ``jupyter-did-not-stop`` if a process survives.
    """
    running = load(directory)
    marker = os.path.join(runtime_dir.path_of(directory), "kernel-")
    members = processes.process_tree(running.pid if running else 0, marker)
    if (
        running
        and os.name == "nt"
        and server_client.check_identity(running.address, running.token, timeout_s=3.0) == "ours"
    ):
        server_client.request_shutdown(running.address, running.token, timeout_s=TERMINATE_WAIT_S)
        processes.wait_until_gone({running.pid: running.info["birth"]}, TERMINATE_WAIT_S)
    elif running:
        # Jupyter shuts its kernels down itself; the other processes get a signal only afterwards.
        processes.terminate({running.pid: running.info["birth"]}, TERMINATE_WAIT_S)
    survivors = processes.terminate(members, 2.0)
    if survivors:
        raise ReportedError(
            "jupyter-did-not-stop", "Can't stop processes of the server", "pids " + ", ".join(map(str, survivors))
        )
    runtime_dir.remove(directory)
    return running is not None


def tail_log(directory: str, token: str, lines: int = 25) -> str:
    """The last lines of the server's log, without the token and without identity requests."""
    text, _ = read_log(directory, None, 16384)
    kept_lines = [line for line in text.rstrip().splitlines() if server_client.IDENTITY_PATH not in line]
    tail = "\n".join(kept_lines[-lines:])
    return tail.replace(token, "[token]") if token else tail


def read_log(directory: str, offset: int | None, limit: int) -> tuple[str, int]:
    """At most ``limit`` bytes of the log from ``offset`` (None: the last ones), and the offset of the next part."""
    try:
        with open(os.path.join(directory, LOG), "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            # A restarted server has a new, shorter log.
            start = max(0, size - limit) if offset is None else (offset if offset <= size else 0)
            handle.seek(start)
            data = handle.read(limit)
    except FileNotFoundError:
        return "", 0
    return data.decode("utf-8", "replace"), start + len(data)
