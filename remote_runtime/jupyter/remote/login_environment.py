"""The environment that a terminal of the user's has: what the login files of their shell set.

An exec channel of SSH reads few of these files, and what it reads often stops where a shell is not interactive. So the
shell is started as an interactive login shell, and as a login shell where that does not work out: a file may start a
terminal multiplexer or another shell.
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

from . import processes
from .reply import Answers

MARK = b"remote-runtime-environment:"
# In one line without an apostrophe, a backslash or an exclamation mark, which shells treat differently.
PRINT = (
    f'import os,sys;o=sys.stdout.buffer;m=b"{MARK.decode()}";'
    'o.write(m+bytes(1).join(k+b"="+v for k,v in os.environb.items())+bytes(1)+m);o.flush()'
)
MOST_BYTES = 1 << 20
WITHIN_S = 30.0
# What belongs to that one shell.
OF_THE_SHELL = ("_", "SHLVL", "PWD", "OLDPWD", "TERM", "COLUMNS", "LINES")
# What says where the user's kernels and extensions are. All else of Jupyter's could change whom the server lets in, or
# who runs its kernels: its own settings and those of a server that we may have been started from.
HARMLESS = re.compile(r"JUPYTER_(?:CONFIG_DIR|CONFIG_PATH|DATA_DIR|PATH|PREFER_ENV_PATH|PLATFORM_DIRS)")
UNWANTED = re.compile(r"(?:JUPYTER|JPY|JUPYTERHUB)_.*|CONFIGPROXY_.*|PYTHONHOME|PYTHONINSPECT|__PYVENV_LAUNCHER__")


@dataclass(frozen=True)
class Login:
    """``env``: what programs of the user's get. ``trouble``: why the login files are not in it, for a person."""

    env: dict[str, str] = field(repr=False)
    trouble: str = ""


def look(answers: Answers) -> Login:
    """Takes as long as the login files do, at most ``WITHIN_S`` or half of the time that the client waits."""
    own = clean(dict(os.environ))
    shell = login_shell()
    if not shell:
        return Login(own)
    until = time.monotonic() + min(WITHIN_S, answers.remaining_s() / 2)
    slow = False
    for command in commands(shell):
        found, slow = ask(command, shell, until, answers)
        if found:
            return Login(merged(clean(found), own))
        if slow:
            break
    why = "did not end in time" if slow else "did not run a command"
    return Login(own, f"the login files of {shell} {why}, so what they set is missing in kernels")


def merged(login: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """The one of a login, or our own where it is a terminal's already, as for a target of kind ``local``: the user may
    have activated an environment there. The PATH has the folders of both."""
    first, second = (own, login) if own.get("TERM", "dumb") != "dumb" else (login, own)
    found = {name: value for name, value in first.items() if name not in OF_THE_SHELL}
    kept = {name: own[name] for name in ("HOME", *OF_THE_SHELL) if name in own}
    folders = [folder for env in (first, second) for folder in env.get("PATH", "").split(os.pathsep) if folder]
    return {**found, **kept, "PATH": os.pathsep.join(dict.fromkeys(folders)) or os.defpath}


def commands(shell: str) -> list[list[str]]:
    """As an interactive login shell, then as a login shell. csh knows a login shell by its name's first character."""
    script = f"{shlex.quote(sys.executable)} -S -E -c {shlex.quote(PRINT)}"
    name = os.path.basename(shell)
    if name in ("csh", "tcsh"):
        return [["-" + name, "-c", script]]
    return [[shell, "-i", "-l", "-c", script], [shell, "-l", "-c", script]]


def ask(command: list[str], shell: str, until: float, answers: Answers) -> tuple[dict[str, str], bool]:
    """The environment that the command prints, or none; and whether its time was over. What a login file leaves in the
    background may hold its output open, so the second mark ends the wait."""
    env = {**os.environ, "TERM": "dumb"}
    try:
        process = subprocess.Popen(
            command, executable=shell, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True, env=env, bufsize=0,
        )  # fmt: skip
    except OSError:
        return {}, False
    said, output = bytearray(), process.stdout.fileno() if process.stdout else -1
    with process:
        while said.count(MARK) < 2 and len(said) < MOST_BYTES and time.monotonic() < until:
            answers.tick(0.0)
            if select.select([output], [], [], 0.05)[0]:
                part = os.read(output, 65536)
                if not part:
                    break
                said += part
        slow = time.monotonic() >= until
        if slow:
            # With what it waits for. The mark is in no command line: none of another login's is meant.
            processes.end(processes.family(process.pid, "\0"), 0.0)
        process.kill()
    return read(bytes(said)), slow


def read(said: bytes) -> dict[str, str]:
    parts = said.split(MARK)
    if len(parts) < 3:
        return {}
    entries = (os.fsdecode(entry).partition("=") for entry in parts[1].split(b"\0") if b"=" in entry)
    return {name: value for name, _, value in entries if name}


def clean(env: dict[str, str]) -> dict[str, str]:
    """Without what changes the server itself: our configuration says that."""
    return {name: value for name, value in env.items() if HARMLESS.fullmatch(name) or not UNWANTED.fullmatch(name)}


def login_shell() -> str:
    """Empty where there is none that runs commands."""
    if sys.platform == "win32":
        return ""
    import pwd

    try:
        shell = pwd.getpwuid(os.geteuid()).pw_shell
    except KeyError:
        shell = os.environ.get("SHELL", "")
    return shell if os.access(shell, os.X_OK) and not shell.endswith(("nologin", "false")) else ""
