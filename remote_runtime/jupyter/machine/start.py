"""Starts Jupyter detached from us, on loopback, with everything secret in files that only the user can read."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from . import environment, interpreters, processes, proof, runtime_folder, server
from .answers import Answers, Failure
from .folder import (
    CONFIG,
    INFO,
    LOCK,
    LOG,
    PACKAGE,
    SOCKET,
    empty,
    load_json,
    locked,
    make_private,
    unpack,
    write_private,
)
from .interpreters import Found
from .orders import Wish

PORT_ATTEMPTS = 3
LONGEST_SOCKET = 100  # bytes of a path: unix(7) has 108, macOS 104
DATA = "data"
# Jupyter opens its port a moment before it can answer; longer than this without the bridge means there is none.
WITHOUT_BRIDGE_S = 3.0
OPEN_KERNELS = "kernels listen on TCP ports: other users of the machine can read cells and their output"


def start(directory: str, wish: Wish, answers: Answers) -> server.Running:
    """A new server in ``directory``, whose lock is held. Raises ``Failure``; then nothing of it is left running."""
    working_dir = find_working_dir(wish.working_dir)
    former = "" if wish.renew else former_token(directory)
    bridge = prepare(directory, wish, answers)
    found, lender = find_interpreter(wish, answers)
    has_sockets = runtime_folder.make(directory)
    notes = [
        *make_content(working_dir),
        *told_of(found, lender, wish.packages),
        *([] if has_sockets else [OPEN_KERNELS]),
    ]
    if lender:
        write_kernel(directory, lender)
    write_private(os.path.join(directory, "boot.py"), wish.boot)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        with reserved(directory, found.kind, wish, hold=attempt == 1) as place:
            # Nobody else of the machine can have listened in its place and been told the former one by a page.
            token = former if former and isinstance(place, str) else secrets.token_hex(24)
            config = settings(found.kind, place, token, working_dir, wish.origins)
            if has_sockets:
                config["KernelManager"] = {"transport": "ipc"}
            write_private(os.path.join(directory, CONFIG), json.dumps(config))
            answers.say("Starting Jupyter with " + found.path)
            process = spawn(directory, found, bridge, working_dir, wish)
            try:
                info = record(directory, process.pid, place, found, wish)
                if wait_until_ours(directory, process, place, token, answers):
                    close_runtime_files(runtime_folder.path_of(directory))
                    return server.Running(directory, process.pid, place, token, {**info, "notes": notes})
                if wish.port or attempt == PORT_ATTEMPTS:
                    raise place_in_use(place)
            except BaseException:
                server.end(directory)
                process.poll()
                raise
    raise AssertionError("the last attempt returns or raises")


def find_working_dir(wanted: str) -> str:
    path = os.path.realpath(os.path.expanduser(wanted))
    if not os.path.isdir(path):
        raise Failure("jupyter-did-not-start", "The working directory does not exist on the machine", path,
                      "Make it there, or name another: `jupyter.working_dir`")  # fmt: skip
    return path


def prepare(directory: str, wish: Wish, answers: Answers) -> str:
    """Clears the server's directory and unpacks the bridge, which counts as used from here on. Answers its folder."""
    runtime_folder.remove(directory)
    empty(directory, keep=LOCK)
    bridges = make_private(os.path.join(os.path.dirname(os.path.dirname(directory)), "bridge"))
    with locked(os.path.join(bridges, LOCK), answers, why="Waiting for another start on the machine"):
        write_private(os.path.join(directory, INFO), json.dumps({"bridge_digest": wish.bridge.digest}))
        return unpack(wish.bridge)


def find_interpreter(wish: Wish, answers: Answers) -> tuple[Found, Found | None]:
    """The Python that runs Jupyter, and another that should run its kernels, if there is a better one for that.

    Raises ``Failure`` ``jupyter-missing`` when there is none and none may be made.
    """
    answers.say("Looking for Jupyter on the machine")
    probed = interpreters.look(wish.python, answers)
    found = interpreters.choose(probed)
    if found and (found.path != interpreters.private_python() or environment.has(wish.packages)):
        return found, interpreters.lender(probed, found)
    if wish.python == "auto" and wish.install == "auto":
        found = environment.ensure(wish.packages, probed, answers)
        return found, interpreters.lender(probed, found)
    seen = "; ".join(f"{each.path}: {each.lacks()}" for each in probed) or "no Python at all"
    if wish.python == "auto":
        raise Failure(
            "jupyter-missing", "No usable Jupyter on the machine", seen, "`jupyter.install: auto` allows a private one"
        )
    raise Failure("jupyter-missing", "No usable Jupyter in the Python that jupyter.python names", seen,
                  f"On the machine: `{probed[0].path} -m pip install jupyter_server ipykernel`")  # fmt: skip


def told_of(found: Found, lender: Found | None, packages: list[str]) -> list[str]:
    told = []
    if lender:
        told.append(f"the kernel python3 runs {lender.path}, which has {', '.join(lender.frameworks)}; "
                    f"Jupyter itself runs {found.path}")  # fmt: skip
    if packages and found.path != interpreters.private_python():
        told.append(f"jupyter.packages is for a private environment; Jupyter runs {found.path}, which stays as it is")
    return told


def write_kernel(directory: str, lender: Found) -> None:
    """A kernel of the name that Colab asks for, found by this server only: it comes before the server's own."""
    kernel = {
        "argv": [lender.path, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": f"Python 3 ({', '.join(lender.frameworks)})", "language": "python",
        # A debugger listens on a TCP port, whatever the kernel's transport is.
        "metadata": {"debugger": False},
    }  # fmt: skip
    folder = make_private(os.path.join(directory, DATA, "kernels", "python3"))
    write_private(os.path.join(folder, "kernel.json"), json.dumps(kernel))


def make_content(working_dir: str) -> list[str]:
    """Some features of Colab expect a ``content`` folder in the server's root. Answers what to tell about it."""
    content = os.path.join(working_dir, "content")
    if os.path.isdir(content):
        return []
    try:
        os.mkdir(content)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return [f"{content} could not be made ({exc.strerror}); some of Colab's features want it"]
    return [f"made {content}, which some of Colab's features want"]


def former_token(directory: str) -> str:
    """Of a server that has ended and listened on a unix socket, where a page may go on with it; else empty."""
    return server.token_in(directory) if load_json(os.path.join(directory, INFO)).get("socket") else ""


@contextlib.contextmanager
def reserved(directory: str, kind: str, wish: Wish, *, hold: bool) -> Iterator[int | str]:
    """Where the server will listen: on a socket that no other user reaches, if the client, the server and the system
    know how to, else on a port."""
    path = os.path.join(directory, SOCKET)
    if wish.socket and kind.startswith("server") and os.name != "nt" and len(os.fsencode(path)) <= LONGEST_SOCKET:
        yield path
    else:
        with reserved_port(wish.port, hold=hold and not wish.port) as port:
            yield port


@contextlib.contextmanager
def reserved_port(wanted: int | None, *, hold: bool) -> Iterator[int]:
    """A port for the server. ``hold``: on Linux it stays reserved meanwhile, since two sockets with SO_REUSEADDR can
    share a port as long as only one listens. Other systems, and jupyter_server 2.0, which looks whether the port is
    free without SO_REUSEADDR, would take it for in use."""
    with socket.socket() as reserved:
        if os.name != "nt":
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            reserved.bind(("127.0.0.1", wanted or 0))
        except OSError as exc:
            raise place_in_use(wanted or 0) from exc
        port = int(reserved.getsockname()[1])
        if not (hold and processes.LINUX):
            reserved.close()
        yield port


def place_in_use(place: int | str) -> Failure:
    name = f"port {place}" if isinstance(place, int) else place
    return Failure("jupyter-did-not-start", f"{name} on the machine cannot be used",
                   "another program has it, or it needs more rights", "Choose another: `jupyter.port`")  # fmt: skip


def settings(kind: str, place: int | str, token: str, working_dir: str, origins: list[str]) -> dict[str, Any]:
    """Jupyter's configuration, by section. Only ``kind`` decides the names; all three servers behave alike."""
    listens = {"port": place} if isinstance(place, int) else {"sock": place, "sock_mode": "0600"}
    common: dict[str, Any] = {
        "ip": "127.0.0.1", **listens, "port_retries": 0, "open_browser": False,
        "allow_credentials": True, "allow_remote_access": False, "allow_root": True, "quit_button": False,
        "shutdown_no_activity_timeout": 0, "allow_origin": origins[0] if len(origins) == 1 else "",
        "allow_origin_pat": "^(?:{})$".format("|".join(map(re.escape, origins))) if len(origins) > 1 else "",
    }  # fmt: skip
    if kind == "notebook6":
        app = {"notebook_dir": working_dir, "nbserver_extensions": {PACKAGE: True}, "token": token, "password": ""}
        return {"NotebookApp": {**common, **app}}
    app = {"root_dir": working_dir, "jpserver_extensions": {PACKAGE: True}}
    if kind == "server1":
        return {"ServerApp": {**common, **app, "token": token, "password": ""}}
    identity = {"IdentityProvider": {"token": token}, "PasswordIdentityProvider": {"hashed_password": ""}}
    return {"ServerApp": {**common, **app}, **identity}


def spawn(directory: str, found: Found, bridge: str, working_dir: str, wish: Wish) -> subprocess.Popen[bytes]:
    """Detached: its own session, all streams to the log, so that it outlives us and holds no channel open."""
    env = {**os.environ, **wish.env, "JUPYTER_RUNTIME_DIR": runtime_folder.path_of(directory)}
    data = os.path.join(directory, DATA)
    if os.path.isdir(data):
        env["JUPYTER_PATH"] = os.pathsep.join(filter(None, [data, env.get("JUPYTER_PATH")]))
    programs, path = os.path.dirname(found.path), env.get("PATH", os.defpath)
    if programs not in path.split(os.pathsep):
        # `!pip install` in a notebook must meet the environment that its kernel runs in.
        env["PATH"] = programs + os.pathsep + path
    config = "--config=" + os.path.join(directory, CONFIG)
    command = [found.path, os.path.join(directory, "boot.py"), found.kind, bridge, config, *wish.args]
    detached: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        detached = {"creationflags": 0x00000008 | 0x00000200}  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    with open(os.open(os.path.join(directory, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        return subprocess.Popen(
            command, cwd=working_dir, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **detached
        )


def record(directory: str, pid: int, place: int | str, found: Found, wish: Wish) -> dict[str, Any]:
    """Writes down what runs here before it answers: if we are killed now, the next start finds it."""
    info = {
        "pid": pid, "port" if isinstance(place, int) else "socket": place, "birth": processes.birth(pid),
        "python": found.python, "jupyter_server": found.jupyter, "interpreter": found.path,
        "bridge": wish.bridge.version, "bridge_digest": wish.bridge.digest, "digests": wish.digests(),
    }  # fmt: skip
    write_private(os.path.join(directory, INFO), json.dumps(info))
    return info


def wait_until_ours(
    directory: str, process: subprocess.Popen[bytes], place: int | str, token: str, answers: Answers
) -> bool:
    """True when the server proved itself, False when another program has its place. Raises ``Failure``."""
    answers.say("Waiting for Jupyter to answer")
    answering_since = None
    while True:
        if process.poll() is not None:
            said = server.log_end(directory, token)
            if re.search(r"port \d+ is already in use|Address already in use", said):
                return False
            raise did_not_start(f"Jupyter ended (status {process.returncode})", directory, said)
        verdict = proof.check(place, token, timeout_s=5.0)
        if verdict == "ours":
            return True
        if verdict != "silent":
            answers.tick(0.5)
            answering_since = answering_since or time.monotonic()
            if time.monotonic() - answering_since > WITHOUT_BRIDGE_S:
                said = server.log_end(directory, token)
                raise Failure("bridge-not-loaded", "Jupyter answers, but without the bridge", said)
        if answers.remaining_s() == 0.0:
            said = server.log_end(directory, token)
            raise did_not_start("Jupyter did not answer in time", directory, said)
        answers.tick(0.05)


def close_runtime_files(runtime: str) -> None:
    """Jupyter writes the token there, older versions for everyone to read if the folder were not ours alone."""
    for name in os.listdir(runtime):
        with contextlib.suppress(FileNotFoundError):
            if name.endswith("-open.html"):
                os.unlink(os.path.join(runtime, name))
            else:
                os.chmod(os.path.join(runtime, name), 0o600)


def did_not_start(what: str, directory: str, said: str) -> Failure:
    space = os.statvfs(directory) if hasattr(os, "statvfs") else None
    if os.strerror(errno.ENOSPC) in said or (space and space.f_bavail == 0):
        return Failure("disk-full", "The machine's disk is full", "no space left for " + directory)
    return Failure("jupyter-did-not-start", what, said or "it wrote nothing to its log")
