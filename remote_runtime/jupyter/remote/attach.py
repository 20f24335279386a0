"""Checks a Jupyter server that the user runs here; never starts, stops or changes it.

It may be unable to prove its identity, so it counts as the user's only while the one process that listens on the port
is theirs, and its token comes from a file that only they can read.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from dataclasses import dataclass
from typing import Any

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import processes, server_client
from .data_dir import load_json
from .kernelspec import user_data_dir
from .listeners import ListeningProcess, find_listeners
from .server_client import NotHttp

TIMEOUT_S = 10.0
NAME_ANOTHER = "Set another file: `jupyter.attach.token_file`"
LOOPBACK_ADDRESSES = ("127.0.0.1", "*", "::", "::ffff:127.0.0.1")
ALL_ADDRESSES = ("*", "::")


@dataclass(frozen=True)
class AttachedServer:
    """``bridge``: its version, empty without one. ``interpreter``: the server's program."""

    port: int
    pid: int
    token: str
    jupyter_server: str
    bridge: str
    interpreter: str
    notes: list[str]


def attach(port: int, token_file: str | None, reply: ReplyWriter) -> AttachedServer:
    """The user's server on ``port``.

    Raises ``ReportedError``: ``attach-not-found``, ``attach-without-token``, or ``attach-unfit`` for a server that no
    URL of Colab's form can reach.
    """
    reply.progress(f"Finding your Jupyter server on port {port} of the machine")
    listener = find_listener(port, need_description=token_file is None or os.name == "nt")
    path, description = read_description(listener.pid)
    if description:
        check_address(description, port)
    token = read_token_file(token_file) if token_file else described_token(path, description, port)
    version = jupyter_version(port)
    refuse_unprotected(port)
    bridge = server_client.identify(port, token, TIMEOUT_S, f"127.0.0.1:{port}")[1]
    if find_listener(port, need_description=False) != listener:
        raise not_found_error(port, "another process is using its port now")
    notes = []
    if listener.address in ALL_ADDRESSES:
        notes.append(f"Other computers can connect to your server on port {port}; only its token protects it. Set "
                     "c.ServerApp.ip = '127.0.0.1'")  # fmt: skip
    return AttachedServer(port, listener.pid, token, version, bridge, interpreter_of(listener.pid), notes)


def find_listener(port: int, *, need_description: bool) -> ListeningProcess:
    """The one process that listens on the port at 127.0.0.1, if it is the user's. Raises ``attach-not-found``."""
    listeners = find_listeners(port)
    if not listeners:
        raise not_found_error(port, "no process listens there")
    if os.name != "nt" and any(listener.user != processes.own_uid() for listener in listeners):
        raise not_found_error(port, "the process that listens there belongs to another user of the machine")
    if len({listener.pid for listener in listeners}) > 1:
        raise not_found_error(port, "several processes listen there, on different addresses")
    listener = next((each for each in listeners if each.address in LOOPBACK_ADDRESSES), None)
    if listener is None:
        raise not_found_error(port, f"it listens on {listeners[0].address} only, not on 127.0.0.1")
    if not listener.pid or not processes.start_id(listener.pid):
        raise not_found_error(port, "the process that listens there can't be read")
    if need_description and not read_description(listener.pid)[0]:
        raise not_found_error(
            port,
            f"process {listener.pid} listens there and has no jpserver-{listener.pid}.json in Jupyter's runtime folder",
            "Set a file that contains its token: `jupyter.attach.token_file`",
        )
    return listener


def check_address(description: dict[str, Any], port: int) -> None:
    if description.get("secure"):
        raise ReportedError(
            "attach-unfit",
            f"The server on port {port} uses HTTPS",
            "Colab requires HTTP on this computer",
            "Start it without certfile; SSH encrypts the connection",
        )
    if description.get("base_url") not in ("/", "", None):
        raise ReportedError("attach-unfit", f"The server on port {port} has the base_url {description['base_url']}",
                            "Colab requires the base_url /", "Start it without base_url")  # fmt: skip


def read_token_file(token_file: str) -> str:
    """The token in the file. Raises ``attach-without-token``, as for a file that others can read."""
    path = os.path.expanduser(token_file)
    folder = os.path.dirname(path)
    # A value that is no path may be a token, which must not be shown.
    is_path = folder != os.path.dirname(folder) and os.path.isdir(folder)
    shown_path = path if is_path or os.path.isfile(path) else "jupyter.attach.token_file"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a named pipe would block
            raise no_token_error("The token file is not a regular file", shown_path, NAME_ANOTHER)
        with open(path, "rb") as handle:
            refuse_shared(os.fstat(handle.fileno()), path)
            text = handle.read(4096).decode("utf-8", "replace").strip()
    except OSError as exc:
        raise no_token_error("Can't read the token file", f"{shown_path}: {exc.strerror}", NAME_ANOTHER) from exc
    if not re.fullmatch(r"[!-~]{1,512}", text):
        why = f"{path} must contain the token and nothing else"
        raise no_token_error("The token file does not contain a token", why, "Write the server's token into it")
    return text


def described_token(path: str, description: dict[str, Any], port: int) -> str:
    """The token in the server's description of itself."""
    refuse_shared(os.stat(path), path)
    token = description.get("token")
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]{1,512}", token):
        raise no_token_error(f"The server on port {port} has no token", f"{path} names none",
                             "Start it with a token; a server without one is never forwarded")  # fmt: skip
    return token


def refuse_shared(status: os.stat_result, path: str) -> None:
    """Raises ``attach-without-token`` for a file that another user can read or change: by its mode or another hard
    link, unless a private folder above it keeps others out."""
    if os.name == "nt":
        return
    if status.st_uid != processes.own_uid():
        raise no_token_error(
            "The token file belongs to another user", path, "Set a file that you own: `jupyter.attach.token_file`"
        )
    if stat.S_IMODE(status.st_mode) & 0o077 and not (status.st_nlink == 1 and is_in_private_dir(path)):
        raise no_token_error(
            "Other users can read the token file",
            f"{path} has mode {stat.S_IMODE(status.st_mode):o}, and all folders above it let others pass",
            f"On the machine: chmod 600 {shlex.quote(path)}",
        )


def is_in_private_dir(path: str) -> bool:
    """Whether a private folder above the file keeps others out. The group bits include access control lists, see
    acl(5)."""
    folder = os.path.dirname(os.path.realpath(path))
    while True:
        status = os.stat(folder)
        if status.st_uid == processes.own_uid() and not stat.S_IMODE(status.st_mode) & 0o011:
            return True
        if os.path.dirname(folder) == folder:
            return False
        folder = os.path.dirname(folder)


def jupyter_version(port: int) -> str:
    """From ``/api``, which needs no token. Raises ``attach-not-found`` if it is no Jupyter server."""
    status, body = get_public(port, "/api")
    try:
        version = json.loads(body.decode("utf-8"))["version"]
    except (ValueError, KeyError, TypeError):
        raise not_found_error(
            port, f"the process that listens there is not a Jupyter server: GET /api: status {status}"
        ) from None
    return re.sub(r"[^A-Za-z0-9.+!_-]", "", str(version))[:60] or "unknown"


def refuse_unprotected(port: int) -> None:
    """Raises ``attach-without-token`` for a server that lists its kernels without a token."""
    status, _ = get_public(port, "/api/kernels")
    if status == 200:
        what, why = f"The server on port {port} does not require a token", "GET /api/kernels works without one"
        raise no_token_error(what, why, "Start it with a token; a server without one is never forwarded")


def get_public(port: int, path: str) -> tuple[int, bytes]:
    """GET without credentials. Raises ``attach-not-found``."""
    try:
        return server_client.request(port, path, within_s=TIMEOUT_S)
    except (OSError, NotHttp) as exc:
        raise not_found_error(port, f"it does not respond as a Jupyter server ({exc})") from exc


def interpreter_of(pid: int) -> str:
    """The server's Python, as ``bridge enable --python`` takes it: the link in its environment, if the command names
    it."""
    commands = [process.command for process in processes.list_processes() if process.pid == pid]
    first = commands[0].split(" ")[0] if commands and commands[0] else ""
    if os.path.isabs(first):
        return first
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return "unknown"


def not_found_error(port: int, why: str, hint: str = "") -> ReportedError:
    return ReportedError("attach-not-found", f"Your Jupyter server is not on port {port} of the machine", why,
                         hint or "Start it there, or set its port: `jupyter.attach.port`")  # fmt: skip


def no_token_error(what: str, why: str, hint: str) -> ReportedError:
    return ReportedError("attach-without-token", what, why, hint)


def read_description(pid: int) -> tuple[str, dict[str, Any]]:
    """The path and content of the file in which a running server describes itself; both empty when there is none.

    Source: jupyter_core's ``jupyter_runtime_dir``, with the environment of the server's process."""
    env = process_environment(pid)
    folder = env.get("JUPYTER_RUNTIME_DIR") or os.path.join(user_data_dir(env), "runtime")
    for name in (f"jpserver-{pid}.json", f"nbserver-{pid}.json"):  # the second: Notebook 6
        path = os.path.join(folder, name)
        description = load_json(path)
        if description:
            return path, description
    return "", {}


def process_environment(pid: int) -> dict[str, str]:
    """The process's where the system shows it (Linux), else this process's."""
    return processes.read_environment(pid) or dict(os.environ)
