"""Starts Jupyter as a detached process on loopback, with all secrets in files that only the user can read."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import data_dir, host, kernelspec, processes, runtime_dir, server, server_client, user_settings
from .data_dir import CONFIG, INFO, LOCK, LOG, OUTPUTS, PACKAGE, load_json, write_private
from .interpreters import Interpreter
from .listen_address import ListenAddress, address_in_use_error, reserve_address, socket_path, supports_sockets
from .login_environment import read_login_environment
from .python_choice import BrokenPython, PythonChoice, PythonSearch
from .request import LaunchSpec
from .start_failure import KERNEL_MODULE, ImportCheck, explain_exit, start_error

MAX_PORT_ATTEMPTS = 3
KERNELS_PYTHONPATH = "RR_KERNELS_PYTHONPATH"
# Jupyter opens its port before it can answer. Without an answer of the bridge for this long, it was not loaded.
BRIDGE_WAIT_S = 3.0
# Jupyter runs on after this error, and never answers.
CANNOT_LISTEN = re.compile(r"^\[E .*\bException in callback .*\b_bind", re.MULTILINE)
LOG_CHECK_INTERVAL_S = 0.5
RECORDING_NOTE = "Outputs are recorded while no page is open. `remote-runtime outputs PROFILE` shows them"
TCP_KERNELS_NOTE = "Kernels listen on TCP ports: other users of the machine can read cells and their output"


def start(
    directory: str,
    spec: LaunchSpec,
    reply: ReplyWriter,
    on_login: Callable[[Mapping[str, str]], None] = lambda env: None,
) -> server.ServerProcess:
    """A new server in ``directory``, whose lock the caller has. ``on_login``: called with the login's variables before
    the server starts. Raises ``ReportedError``, and leaves no process running then."""
    working_dir = find_working_dir(spec.working_dir)
    # The token of an ended server that listened on a unix socket is kept, so that open pages keep working.
    keeps_token = not spec.renew and load_json(os.path.join(directory, INFO)).get("socket")
    previous_token = server.read_token(directory) if keeps_token else ""
    bridge = prepare_directory(directory, spec, reply)
    content_dir, has_sockets = "", runtime_dir.create(directory)
    try:
        with ListenAddress(directory, spec, reply) as listen_address:
            login = read_login_environment(reply)
            on_login(login.env)
            write_private(os.path.join(directory, "boot.py"), spec.boot)
            search = PythonSearch(spec, login.env, reply)
            choice = search.find()
            on_socket = listen_address.use_socket(choice.server.kind)
        content_dir, notes = make_content_dir(working_dir, reply)
        notes += [*([login.problem] if login.problem else []), *listen_address.notes]
        while True:
            kernelspec.write_kernelspec(directory, choice.kernel, is_borrowed=choice.kernel != choice.server)
            env = server_environment(directory, choice.server, login.env, spec)
            added = choice.server.bin_dir if env["PATH"] != {**login.env, **spec.env}.get("PATH") else ""
            on_socket = on_socket and supports_sockets(choice.server.kind)
            plan = LaunchPlan(
                directory, spec, choice, env, bridge, previous_token, working_dir, has_sockets, on_socket, content_dir,
                added,
            )  # fmt: skip
            try:
                running = launch(plan, reply)
                break
            except BrokenPython as broken:
                search.exclude(broken)
                choice = search.find()
                has_sockets = runtime_dir.create(directory)
    except BaseException:
        data_dir.remove_content_dir(content_dir)
        runtime_dir.remove(directory)
        raise
    notes += [*choice.notes, *kernelspec.overridden_notes(login.env, choice.kernel)]
    notes += user_settings.settings_notes(directory, choice.server.kind, login.env)
    all_notes = [
        *notes,
        *([] if has_sockets else [TCP_KERNELS_NOTE]),
        *([RECORDING_NOTE] if spec.record_outputs else []),
    ]
    return running._replace(info={**running.info, "notes": all_notes})


class LaunchPlan(NamedTuple):
    """``env``: the server's; ``bridge``: its folder; ``previous_token``: to be used again, or empty; ``content``: the
    folder that was made, or empty; ``added_path``: the folder that is first on the server's PATH, and not on the
    login's, or empty."""

    directory: str
    spec: LaunchSpec
    choice: PythonChoice
    env: dict[str, str]
    bridge: str
    previous_token: str
    working_dir: str
    has_sockets: bool
    on_socket: bool
    content: str
    added_path: str


def launch(plan: LaunchPlan, reply: ReplyWriter) -> server.ServerProcess:
    """Raises ``BrokenPython`` if the Python cannot import Jupyter or ipykernel, and ``ReportedError``."""
    directory, spec, interpreter = plan.directory, plan.spec, plan.choice.server
    for attempt in range(1, MAX_PORT_ATTEMPTS + 1):
        with reserve_address(socket_path(directory), spec, on_socket=plan.on_socket, hold=attempt == 1) as address:
            # On a port, another user may have listened in the meantime, and got the previous token from a page.
            token = plan.previous_token if plan.previous_token and isinstance(address, str) else secrets.token_hex(24)
            config = jupyter_config(interpreter.kind, address, token, plan.working_dir, spec)
            if plan.has_sockets:
                config["KernelManager"] = {"transport": "ipc"}
            if spec.record_outputs:
                config["RemoteRuntimeBridge"] = {"outputs_dir": os.path.join(directory, OUTPUTS)}
            write_private(os.path.join(directory, CONFIG), json.dumps(config))
            reply.progress("Starting Jupyter with " + interpreter.path)
            process = spawn(plan)
            try:
                info = save_info(plan, process.pid, address)
                with ImportCheck(plan.choice.kernel.path, KERNEL_MODULE, plan.env) as kernel:
                    if wait_until_ready(plan, process, address, token, reply):
                        why = kernel.problem(reply)
                        if why:
                            raise BrokenPython(plan.choice.kernel.path, "ipykernel", why)
                        restrict_runtime_files(runtime_dir.path_of(directory))
                        return server.ServerProcess(directory, process.pid, address, token, info)
                if spec.port or attempt == MAX_PORT_ATTEMPTS:
                    raise address_in_use_error(address)
            except BaseException:
                server.terminate(directory)
                process.poll()
                raise
    raise AssertionError("the last attempt returns or raises")


def find_working_dir(named: str) -> str:
    path = os.path.realpath(os.path.expanduser(named))
    if not os.path.isdir(path):
        raise ReportedError("jupyter-did-not-start", "The working directory does not exist on the machine", path,
                            "Create it there, or set another: `jupyter.working_dir`")  # fmt: skip
    return path


def prepare_directory(directory: str, spec: LaunchSpec, reply: ReplyWriter) -> str:
    """Clears the server's directory and installs the bridge, which counts as used from now on. Returns its folder."""
    runtime_dir.remove(directory)
    data_dir.clear(directory, keep=LOCK)
    bridges = data_dir.make_private_dir(os.path.join(os.path.dirname(os.path.dirname(directory)), "bridge"))
    with data_dir.locked(os.path.join(bridges, LOCK), reply, why="Waiting for another start on the machine"):
        write_private(
            os.path.join(directory, INFO),
            json.dumps({"bridge_digest": spec.bridge.digest, "attempt": spec.attempt}),
        )
        return data_dir.install_bridge(spec.bridge)


def make_content_dir(working_dir: str, reply: ReplyWriter) -> tuple[str, list[str]]:
    """Colab's file browser expects a ``content`` folder in the server's root. Returns its path if it was created, else
    empty, and notes about it."""
    content = os.path.join(working_dir, "content")
    if os.path.isdir(content):
        return "", []
    try:
        os.mkdir(content)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return "", [f"Can't create {content} ({exc.strerror}); Colab's file browser needs it"]
    reply.progress(f"Created {content}, a /content-style folder for Colab's file browser")
    return content, []


def jupyter_config(kind: str, address: int | str, token: str, working_dir: str, spec: LaunchSpec) -> dict[str, Any]:
    """Jupyter's configuration by section. The names differ by ``kind``; all three servers behave alike."""
    origins, session_only = spec.origins, {"expires_days": None}
    listen_traits = {"port": address} if isinstance(address, int) else {"sock": address, "sock_mode": "0600"}
    common: dict[str, Any] = {
        "ip": "127.0.0.1", **listen_traits, "port_retries": 0, "open_browser": False,
        "allow_credentials": True, "allow_remote_access": False, "allow_root": True, "quit_button": False,
        "shutdown_no_activity_timeout": 0, "allow_origin": origins[0] if len(origins) == 1 else "",
        "allow_origin_pat": "^(?:{})$".format("|".join(map(re.escape, origins))) if len(origins) > 1 else "",
        "local_hostnames": spec.hostnames,
        # For the bridge: this server is remote-runtime's own.
        "tornado_settings": {"xsrf_cookie_kwargs": {"path": "/", **session_only}, "remote_runtime_launched": True},
    }  # fmt: skip
    if kind == "notebook6":
        app = {
            "notebook_dir": working_dir,
            "nbserver_extensions": {PACKAGE: True},
            "token": token,
            "password": "",
        }
        return {"NotebookApp": {**common, **app, "cookie_options": session_only}}
    app = {"root_dir": working_dir, "jpserver_extensions": {PACKAGE: True}}
    if kind == "server1":
        return {"ServerApp": {**common, **app, "cookie_options": session_only, "token": token, "password": ""}}
    identity = {"IdentityProvider": {"token": token, "cookie_options": session_only},
                "PasswordIdentityProvider": {"hashed_password": ""}}  # fmt: skip
    return {"ServerApp": {**common, **app}, **identity}


def server_environment(
    directory: str, interpreter: Interpreter, login: dict[str, str], spec: LaunchSpec
) -> dict[str, str]:
    """The login's environment, overridden by the profile's, then by remote-runtime's."""
    env = {**login, **spec.env, "JUPYTER_RUNTIME_DIR": runtime_dir.path_of(directory)}
    if "PYTHONPATH" in spec.env:
        # For kernels only: the user's modules must not shadow Jupyter's. See run_server.py.
        paths = [os.path.expanduser(path) for path in spec.env["PYTHONPATH"].split(os.pathsep) if path]
        env[KERNELS_PYTHONPATH] = os.pathsep.join([*paths, *filter(None, [login.get("PYTHONPATH")])])
        del env["PYTHONPATH"]
        env.update({"PYTHONPATH": login["PYTHONPATH"]} if login.get("PYTHONPATH") else {})
    programs, path = interpreter.bin_dir, env.get("PATH", os.defpath)
    if programs not in path.split(os.pathsep):
        # For terminals and other programs of the server; run_server.py sets the PATH of each kernel.
        env["PATH"] = programs + os.pathsep + path
    return kernelspec.with_data_path(directory, env)


def spawn(plan: LaunchPlan) -> subprocess.Popen[bytes]:
    """In its own session, with all streams to the log: it outlives the launcher, and keeps no SSH channel open."""
    directory, interpreter = plan.directory, plan.choice.server
    config = "--config=" + os.path.join(directory, CONFIG)
    program = os.path.join(directory, "boot.py")
    command = [interpreter.path, program, interpreter.kind, plan.bridge, config, *plan.spec.args]
    detached = processes.detached_popen_args()
    with open(os.open(os.path.join(directory, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        return subprocess.Popen(
            command, cwd=plan.working_dir, env=plan.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **detached
        )


def save_info(plan: LaunchPlan, pid: int, address: int | str) -> dict[str, Any]:
    """Saves the INFO file before the server answers: if the launcher is killed now, the next start finds the server."""
    directory, spec, interpreter = plan.directory, plan.spec, plan.choice.server
    info = {
        "pid": pid, "port" if isinstance(address, int) else "socket": address, "birth": processes.start_id(pid),
        "python": interpreter.python, "jupyter_server": interpreter.jupyter_label, "interpreter": interpreter.path,
        "bridge": spec.bridge.version, "bridge_digest": spec.bridge.digest, "digests": spec.key_digests(),
        "missing_packages": list(plan.choice.kernel.missing),
        "attempt": spec.attempt, "content": plan.content, "added_path": plan.added_path,
        "host": host.host_info(),
    }  # fmt: skip
    write_private(os.path.join(directory, INFO), json.dumps(info))
    return info


def wait_until_ready(
    plan: LaunchPlan, process: subprocess.Popen[bytes], address: int | str, token: str, reply: ReplyWriter
) -> bool:
    """True when the server proved its identity, False when its address is taken. Raises as ``launch``."""
    directory = plan.directory
    reply.progress("Waiting for Jupyter to respond")
    answering_since = None
    log_checked_at = time.monotonic()
    while True:
        if process.poll() is not None:
            log = server.tail_log(directory, token)
            if re.search(r"port \d+ is already in use|Address already in use", log):
                return False
            raise explain_exit(plan.choice.server, plan.env, process.returncode, log, reply)
        verdict = server_client.check_identity(address, token, timeout_s=5.0)
        if verdict == "ours":
            return True
        if verdict != "silent":
            reply.sleep(0.5)
            answering_since = answering_since or time.monotonic()
            if time.monotonic() - answering_since > BRIDGE_WAIT_S:
                log = server.tail_log(directory, token)
                raise ReportedError("bridge-not-loaded", "Jupyter responds, but without the bridge", log)
        if time.monotonic() - log_checked_at > LOG_CHECK_INTERVAL_S:
            log_checked_at = time.monotonic()
            log = server.tail_log(directory, token)
            if CANNOT_LISTEN.search(log):
                raise start_error(f"Jupyter can't listen at {address}", log)
        if reply.remaining_s() == 0.0:
            log = server.tail_log(directory, token)
            raise start_error("Jupyter did not respond in time", log)
        reply.sleep(0.05)


def restrict_runtime_files(runtime: str) -> None:
    """Jupyter writes the token there; older versions make these files readable for everyone."""
    for name in os.listdir(runtime):
        with contextlib.suppress(FileNotFoundError):
            if name.endswith("-open.html"):
                os.unlink(os.path.join(runtime, name))
            else:
                os.chmod(os.path.join(runtime, name), 0o600)
