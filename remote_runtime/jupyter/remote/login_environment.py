"""The environment of the user's terminal, as the login files of their shell set it.

An SSH exec channel reads few of these files, and many stop in a shell that is not interactive. So the shell is started
as an interactive login shell, and as a login shell if that fails: a login file may start another program.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field

from ...launcher.remote.reply import ReplyWriter
from . import processes

MARKER = b"remote-runtime-environment:"
# One line without an apostrophe, backslash or exclamation mark, which shells read differently.
PRINT_ENVIRONMENT = (
    f'import os,sys;o=sys.stdout.buffer;m=b"{MARKER.decode()}";'
    'o.write(m+bytes(1).join(k+b"="+v for k,v in os.environb.items())+bytes(1)+m);o.flush()'
)
MAX_OUTPUT_BYTES = 1 << 20
TIMEOUT_S = 30.0
# These belong to that shell only.
SHELL_VARIABLES = ("_", "SHLVL", "PWD", "OLDPWD", "TERM", "COLUMNS", "LINES")
# These say where the user's kernels and extensions are. Jupyter's other variables could change who may log in, or who
# runs the kernels; some come from a server that may have started this process.
KEPT_JUPYTER_VARIABLES = re.compile(r"JUPYTER_(?:CONFIG_DIR|CONFIG_PATH|DATA_DIR|PATH|PREFER_ENV_PATH|PLATFORM_DIRS)")
REMOVED_VARIABLES = re.compile(
    r"(?:JUPYTER|JPY|JUPYTERHUB)_.*|CONFIGPROXY_.*|PYTHONHOME|PYTHONINSPECT|__PYVENV_LAUNCHER__"
)


@dataclass(frozen=True)
class LoginEnvironment:
    """``env``: for the user's programs. ``problem``: why the login files are not in it, for people."""

    env: dict[str, str] = field(repr=False)
    problem: str = ""


def read_login_environment(reply: ReplyWriter) -> LoginEnvironment:
    """Takes as long as the login files, at most ``TIMEOUT_S`` or half of the time that the client waits."""
    own = without_server_settings(dict(os.environ))
    shell = login_shell()
    if not shell:
        return LoginEnvironment(own)
    until = time.monotonic() + min(TIMEOUT_S, reply.remaining_s() / 2)
    timed_out = False
    for command in shell_commands(shell):
        environment, timed_out = run_shell(command, shell, until, reply)
        if environment:
            return LoginEnvironment(merge(without_server_settings(environment), own))
        if timed_out:
            break
    why = "did not end in time" if timed_out else "did not run a command"
    return LoginEnvironment(
        own, f"The login files of {shell} {why}, so the variables that they set are missing in kernels"
    )


def merge(login: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """The login's environment, or this process's if that is a terminal's, as for a target of kind ``local``: the user
    may have activated an environment there. PATH has the folders of both."""
    first, second = (own, login) if own.get("TERM", "dumb") != "dumb" else (login, own)
    found = {name: value for name, value in first.items() if name not in SHELL_VARIABLES}
    kept = {name: own[name] for name in ("HOME", *SHELL_VARIABLES) if name in own}
    folders = [folder for env in (first, second) for folder in env.get("PATH", "").split(os.pathsep) if folder]
    return {**found, **kept, "PATH": os.pathsep.join(dict.fromkeys(folders)) or os.defpath}


def shell_commands(shell: str) -> list[list[str]]:
    """As an interactive login shell, then as a login shell. csh is a login shell if its name begins with ``-``."""
    script = f"{shlex.quote(sys.executable)} -S -E -c {shlex.quote(PRINT_ENVIRONMENT)}"
    name = os.path.basename(shell)
    if name in ("csh", "tcsh"):
        return [["-" + name, "-c", script]]
    return [[shell, "-i", "-l", "-c", script], [shell, "-l", "-c", script]]


def run_shell(command: list[str], shell: str, until: float, reply: ReplyWriter) -> tuple[dict[str, str], bool]:
    """The environment that the command prints, or an empty one; and whether it timed out. A background process of a
    login file may keep the output open, so the second marker ends the wait."""
    env = {**os.environ, "TERM": "dumb"}
    try:
        process = subprocess.Popen(
            command, executable=shell, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True, env=env, bufsize=0,
        )  # fmt: skip
    except OSError:
        return {}, False
    printed, output = bytearray(), process.stdout.fileno() if process.stdout else -1
    with process:
        while printed.count(MARKER) < 2 and len(printed) < MAX_OUTPUT_BYTES and time.monotonic() < until:
            reply.sleep(0.0)
            if select.select([output], [], [], 0.05)[0]:
                part = os.read(output, 65536)
                if not part:
                    break
                printed += part
        timed_out = time.monotonic() >= until
        if timed_out:
            # With its children. No command line contains NUL, so no other process is chosen.
            processes.terminate(processes.process_tree(process.pid, "\0"), 0.0)
        process.kill()
    return parse_output(bytes(printed)), timed_out


def parse_output(output: bytes) -> dict[str, str]:
    parts = output.split(MARKER)
    if len(parts) < 3:
        return {}
    entries = (os.fsdecode(entry).partition("=") for entry in parts[1].split(b"\0") if b"=" in entry)
    return {name: value for name, _, value in entries if name}


def without_server_settings(env: dict[str, str]) -> dict[str, str]:
    """Without the variables that configure the server itself."""
    return {
        name: value
        for name, value in env.items()
        if KEPT_JUPYTER_VARIABLES.fullmatch(name) or not REMOVED_VARIABLES.fullmatch(name)
    }


def login_shell() -> str:
    """Empty if the user has none that runs commands."""
    if sys.platform == "win32":
        return ""
    import pwd

    try:
        shell = pwd.getpwuid(os.geteuid()).pw_shell
    except KeyError:
        shell = os.environ.get("SHELL", "")
    return shell if os.access(shell, os.X_OK) and not shell.endswith(("nologin", "false")) else ""
