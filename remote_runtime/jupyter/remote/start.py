"""Starts Jupyter detached from us, on loopback, with everything secret in files that only the user can read."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import subprocess
import time
from typing import Any, NamedTuple

from . import host, kernelspec, login_environment, package_import, processes, proof, runtime_dir, server, user_settings
from .data_dir import (
    CONFIG,
    INFO,
    LOCK,
    LOG,
    PACKAGE,
    empty,
    forget_content,
    load_json,
    locked,
    make_private,
    unpack,
    write_private,
)
from .interpreters import Found
from .listen_address import Places, can_use_sockets, place_in_use, reserved, socket_of
from .package_import import Import
from .python_choice import Broken, Choice, Search
from .reply import Answers, Failure
from .request import Wish
from .start_failure import did_not_start, reason

PORT_ATTEMPTS = 3
KERNELS_PYTHONPATH = "RR_KERNELS_PYTHONPATH"
# Jupyter opens its port a moment before it can answer; longer than this without the bridge means there is none.
WITHOUT_BRIDGE_S = 3.0
# It goes on without ever answering then.
CANNOT_LISTEN = re.compile(r"^\[E .*\bException in callback .*\b_bind", re.MULTILINE)
LOOK_EVERY_S = 0.5
OPEN_KERNELS = "kernels listen on TCP ports: other users of the machine can read cells and their output"


def start(directory: str, wish: Wish, answers: Answers) -> server.Running:
    """A new server in ``directory``, whose lock is held. Raises ``Failure``; then nothing of it is left running."""
    working_dir = find_working_dir(wish.working_dir)
    former = "" if wish.renew else former_token(directory)
    bridge = prepare(directory, wish, answers)
    content, has_sockets = "", runtime_dir.make(directory)
    try:
        with Places(directory, wish, answers) as places:
            login = login_environment.look(answers)
            write_private(os.path.join(directory, "boot.py"), wish.boot)
            search = Search(wish, login.env, answers)
            chosen = search.find()
            on_socket = places.settle(chosen.server.kind)
        content, notes = make_content(working_dir)
        notes += [*([login.trouble] if login.trouble else []), *places.notes]
        while True:
            kernelspec.write(directory, chosen.kernel, lent=chosen.kernel != chosen.server)
            env = environment_of(directory, chosen.server, login.env, wish)
            on_socket = on_socket and can_use_sockets(chosen.server.kind)
            plan = Plan(directory, wish, chosen, env, bridge, former, working_dir, has_sockets, on_socket, content)
            try:
                running = launch(plan, answers)
                break
            except Broken as broken:
                search.exclude(broken)
                chosen = search.find()
                has_sockets = runtime_dir.make(directory)
    except BaseException:
        forget_content(content)
        runtime_dir.remove(directory)
        raise
    notes += [*chosen.notes, *kernelspec.overruled(login.env, chosen.kernel)]
    notes += user_settings.told(directory, chosen.server.kind, login.env)
    told = [*notes, *([] if has_sockets else [OPEN_KERNELS])]
    return running._replace(info={**running.info, "notes": told})


class Plan(NamedTuple):
    """``env``: of the server's process; ``bridge``: its folder; ``former``: the token to go on with, or empty.
    ``content``: the folder that was made, or empty."""

    directory: str
    wish: Wish
    chosen: Choice
    env: dict[str, str]
    bridge: str
    former: str
    working_dir: str
    has_sockets: bool
    on_socket: bool
    content: str


def launch(plan: Plan, answers: Answers) -> server.Running:
    """Raises ``Broken`` for a Python whose Jupyter or ipykernel cannot be imported, and ``Failure``."""
    directory, wish, found = plan.directory, plan.wish, plan.chosen.server
    for attempt in range(1, PORT_ATTEMPTS + 1):
        with reserved(socket_of(directory), wish, on_socket=plan.on_socket, hold=attempt == 1) as place:
            # Nobody else of the machine can have listened in its place and been told the former one by a page.
            token = plan.former if plan.former and isinstance(place, str) else secrets.token_hex(24)
            config = settings(found.kind, place, token, plan.working_dir, wish)
            if plan.has_sockets:
                config["KernelManager"] = {"transport": "ipc"}
            write_private(os.path.join(directory, CONFIG), json.dumps(config))
            answers.say("Starting Jupyter with " + found.path)
            process = spawn(plan)
            try:
                info = record(plan, process.pid, place)
                with Import(plan.chosen.kernel.path, package_import.KERNEL, plan.env) as kernel:
                    if wait_until_ours(plan, process, place, token, answers):
                        why = kernel.trouble(answers)
                        if why:
                            raise Broken(plan.chosen.kernel.path, "ipykernel", why)
                        close_runtime_files(runtime_dir.path_of(directory))
                        return server.Running(directory, process.pid, place, token, info)
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
    runtime_dir.remove(directory)
    empty(directory, keep=LOCK)
    bridges = make_private(os.path.join(os.path.dirname(os.path.dirname(directory)), "bridge"))
    with locked(os.path.join(bridges, LOCK), answers, why="Waiting for another start on the machine"):
        write_private(
            os.path.join(directory, INFO), json.dumps({"bridge_digest": wish.bridge.digest, "attempt": wish.attempt})
        )
        return unpack(wish.bridge)


def make_content(working_dir: str) -> tuple[str, list[str]]:
    """Some features of Colab expect a ``content`` folder in the server's root. Answers its path if it was made, and
    what to tell about it."""
    content = os.path.join(working_dir, "content")
    if os.path.isdir(content):
        return "", []
    try:
        os.mkdir(content)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return "", [f"{content} could not be made ({exc.strerror}); some of Colab's features want it"]
    return content, [f"made {content}, which some of Colab's features want"]


def former_token(directory: str) -> str:
    """Of a server that has ended and listened on a unix socket, where a page may go on with it; else empty."""
    return server.token_in(directory) if load_json(os.path.join(directory, INFO)).get("socket") else ""


def settings(kind: str, place: int | str, token: str, working_dir: str, wish: Wish) -> dict[str, Any]:
    """Jupyter's configuration, by section. Only ``kind`` decides the names; all three servers behave alike."""
    origins, session_only = wish.origins, {"expires_days": None}
    listens = {"port": place} if isinstance(place, int) else {"sock": place, "sock_mode": "0600"}
    common: dict[str, Any] = {
        "ip": "127.0.0.1", **listens, "port_retries": 0, "open_browser": False,
        "allow_credentials": True, "allow_remote_access": False, "allow_root": True, "quit_button": False,
        "shutdown_no_activity_timeout": 0, "allow_origin": origins[0] if len(origins) == 1 else "",
        "allow_origin_pat": "^(?:{})$".format("|".join(map(re.escape, origins))) if len(origins) > 1 else "",
        "local_hostnames": wish.hostnames, "tornado_settings": {"xsrf_cookie_kwargs": {"path": "/", **session_only}},
    }  # fmt: skip
    if kind == "notebook6":
        app = {"notebook_dir": working_dir, "nbserver_extensions": {PACKAGE: True}, "token": token, "password": ""}
        return {"NotebookApp": {**common, **app, "cookie_options": session_only}}
    app = {"root_dir": working_dir, "jpserver_extensions": {PACKAGE: True}}
    if kind == "server1":
        return {"ServerApp": {**common, **app, "cookie_options": session_only, "token": token, "password": ""}}
    identity = {"IdentityProvider": {"token": token, "cookie_options": session_only},
                "PasswordIdentityProvider": {"hashed_password": ""}}  # fmt: skip
    return {"ServerApp": {**common, **app}, **identity}


def environment_of(directory: str, found: Found, login: dict[str, str], wish: Wish) -> dict[str, str]:
    """What the server gets: a login's environment, the profile's above it, ours above all."""
    env = {**login, **wish.env, "JUPYTER_RUNTIME_DIR": runtime_dir.path_of(directory)}
    if "PYTHONPATH" in wish.env:
        # For kernels only: a module of the user's must not take the place of one of Jupyter's. See boot.py.
        paths = [os.path.expanduser(path) for path in wish.env["PYTHONPATH"].split(os.pathsep) if path]
        env[KERNELS_PYTHONPATH] = os.pathsep.join([*paths, *filter(None, [login.get("PYTHONPATH")])])
        del env["PYTHONPATH"]
        env.update({"PYTHONPATH": login["PYTHONPATH"]} if login.get("PYTHONPATH") else {})
    programs, path = found.programs, env.get("PATH", os.defpath)
    if programs not in path.split(os.pathsep):
        # What the server starts itself, such as a terminal; boot.py sets that of each kernel.
        env["PATH"] = programs + os.pathsep + path
    return kernelspec.environment(directory, env)


def spawn(plan: Plan) -> subprocess.Popen[bytes]:
    """Detached: its own session, all streams to the log, so that it outlives us and holds no channel open."""
    directory, found = plan.directory, plan.chosen.server
    config = "--config=" + os.path.join(directory, CONFIG)
    command = [found.path, os.path.join(directory, "boot.py"), found.kind, plan.bridge, config, *plan.wish.args]
    detached: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        detached = {"creationflags": 0x00000008 | 0x00000200}  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    with open(os.open(os.path.join(directory, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        return subprocess.Popen(
            command, cwd=plan.working_dir, env=plan.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **detached
        )


def record(plan: Plan, pid: int, place: int | str) -> dict[str, Any]:
    """Writes down what runs here before it answers: if we are killed now, the next start finds it."""
    directory, wish, found = plan.directory, plan.wish, plan.chosen.server
    info = {
        "pid": pid, "port" if isinstance(place, int) else "socket": place, "birth": processes.birth(pid),
        "python": found.python, "jupyter_server": found.jupyter, "interpreter": found.path,
        "bridge": wish.bridge.version, "bridge_digest": wish.bridge.digest, "digests": wish.digests(),
        "attempt": wish.attempt, "content": plan.content, "host": host.note(),
    }  # fmt: skip
    write_private(os.path.join(directory, INFO), json.dumps(info))
    return info


def wait_until_ours(
    plan: Plan, process: subprocess.Popen[bytes], place: int | str, token: str, answers: Answers
) -> bool:
    """True when the server proved itself, False when another program has its place. Raises as ``launch``."""
    directory = plan.directory
    answers.say("Waiting for Jupyter to answer")
    answering_since = None
    looked_at = time.monotonic()
    while True:
        if process.poll() is not None:
            said = server.log_end(directory, token)
            if re.search(r"port \d+ is already in use|Address already in use", said):
                return False
            raise reason(plan.chosen.server, plan.env, process.returncode, said, answers)
        verdict = proof.check(place, token, timeout_s=5.0)
        if verdict == "ours":
            return True
        if verdict != "silent":
            answers.tick(0.5)
            answering_since = answering_since or time.monotonic()
            if time.monotonic() - answering_since > WITHOUT_BRIDGE_S:
                said = server.log_end(directory, token)
                raise Failure("bridge-not-loaded", "Jupyter answers, but without the bridge", said)
        if time.monotonic() - looked_at > LOOK_EVERY_S:
            looked_at = time.monotonic()
            said = server.log_end(directory, token)
            if CANNOT_LISTEN.search(said):
                raise did_not_start(f"Jupyter cannot listen at {place}", said)
        if answers.remaining_s() == 0.0:
            said = server.log_end(directory, token)
            raise did_not_start("Jupyter did not answer in time", said)
        answers.tick(0.05)


def close_runtime_files(runtime: str) -> None:
    """Jupyter writes the token there, older versions for everyone to read if the folder were not ours alone."""
    for name in os.listdir(runtime):
        with contextlib.suppress(FileNotFoundError):
            if name.endswith("-open.html"):
                os.unlink(os.path.join(runtime, name))
            else:
                os.chmod(os.path.join(runtime, name), 0o600)
