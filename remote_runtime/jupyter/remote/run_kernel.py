"""Activates an environment as its own shell does, and becomes its kernel.

``python run_kernel.py FILE CONNECTION_FILE`` (a copy on the machine): FILE is the JSON of ``environment_kernels.py``.
A shell runs the activation without input and for a limited time; all variables that it leaves are the kernel's. If it
fails, the kernel starts with the environment's programs alone, and the server's log says why.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

TIMEOUT_S = 20.0
MAX_BYTES = 1 << 21
END = b"\0\0"
# Sourced scripts must not see these arguments. The command line keeps them, by which `down` finds the shell.
HEAD = "rr_prefix=$1 rr_tool=$2 rr_project=$3 rr_name=$4 rr_python=$5 rr_print=$6; set --\n"
TAIL = '\nexec "$rr_python" -E -s -S -c "$rr_print"\n'
PRINT = 'import os;open({},"wb").write(bytes(1).join(k+b"="+v for k,v in os.environb.items())+bytes(2))'
# These belong to that shell only.
SHELL_VARIABLES = ("_", "SHLVL", "PWD", "OLDPWD")


def main() -> None:
    path, connection_file = sys.argv[1:3]
    with open(path, encoding="utf-8") as handle:
        settings = json.load(handle)
    before = without_folder(os.environ, settings["added_path"])
    try:
        env = activated(settings, before, connection_file)
    except ActivationFailed as failure:
        sys.stderr.write(f"remote-runtime: {settings['prefix']} was not activated: {failure}\n")
        env = with_programs(settings["prefix"], before)
    program = settings["python"]
    os.execve(program, [program, "-m", "ipykernel_launcher", "-f", connection_file], env)  # noqa: S606  # the environment's


class ActivationFailed(Exception):
    """For people."""


def activated(settings: Mapping[str, Any], before: Mapping[str, str], mark: str) -> dict[str, str]:
    """All variables after the activation, which begins with ``before``. ``mark``: for the shell's command line. Raises
    ``ActivationFailed``."""
    reader, writer = os.pipe()
    arguments = [*settings["arguments"], sys.executable, PRINT.format(writer), mark]
    command = [*shell(before), "-c", HEAD + settings["script"] + TAIL, "remote-runtime-activation", *arguments]
    try:
        process = subprocess.Popen(
            command, env=dict(before), stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[writer],
            start_new_session=True,
        )  # fmt: skip
    except OSError as exc:
        os.close(reader)
        raise ActivationFailed(f"{command[0]} can't be run: {exc.strerror}") from exc
    finally:
        os.close(writer)
    printed, timed_out = read_until_end(reader, time.monotonic() + float(settings.get("within_s", TIMEOUT_S)))
    os.close(reader)
    if timed_out or not printed.endswith(END):
        why = "it did not end in time" if timed_out else f"its shell ended with status {process.wait()}"
        stop(process)
        raise ActivationFailed(why)
    process.wait()
    entries = (os.fsdecode(entry).partition("=") for entry in printed.split(b"\0") if b"=" in entry)
    after = {name: value for name, _, value in entries if name and name not in SHELL_VARIABLES}
    variable = "VIRTUAL_ENV" if is_venv(settings["prefix"]) else "CONDA_PREFIX"
    if os.path.realpath(after.get(variable) or os.sep) != os.path.realpath(settings["prefix"]):
        raise ActivationFailed(f"{variable} is {after.get(variable) or 'not set'} afterwards")
    return {**{name: before[name] for name in SHELL_VARIABLES if name in before}, **after}


def read_until_end(reader: int, until: float) -> tuple[bytes, bool]:
    """What was written, and whether the time passed. A process that a script left behind may keep the pipe open."""
    printed = bytearray()
    while not printed.endswith(END) and len(printed) < MAX_BYTES:
        left_s = until - time.monotonic()
        if left_s <= 0 or not select.select([reader], [], [], left_s)[0]:
            return bytes(printed), True
        part = os.read(reader, 65536)
        if not part:
            break
        printed += part
    return bytes(printed), False


def stop(process: subprocess.Popen[bytes]) -> None:
    """With what it started."""
    if sys.platform == "win32":
        process.kill()
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
    process.wait()


def shell(env: Mapping[str, str]) -> list[str]:
    """Bash if there is one: many activation scripts of conda packages need it."""
    for folder in [*env.get("PATH", "").split(os.pathsep), "/bin", "/usr/bin"]:
        path = os.path.join(folder, "bash")
        if os.path.isabs(path) and os.access(path, os.X_OK):
            return [path, "--noprofile", "--norc"]
    return ["/bin/sh"]


def without_folder(env: Mapping[str, str], folder: str) -> dict[str, str]:
    """Without the folder that the server has put at the beginning of its PATH."""
    entries = env.get("PATH", os.defpath).split(os.pathsep)
    return {**env, "PATH": os.pathsep.join(entries[1:] if folder and entries[0] == folder else entries)}


def with_programs(prefix: str, env: Mapping[str, str]) -> dict[str, str]:
    variable = "VIRTUAL_ENV" if is_venv(prefix) else "CONDA_PREFIX"
    path = os.path.join(prefix, "bin") + os.pathsep + env.get("PATH", os.defpath)
    return {**env, "PATH": path, variable: prefix}


def is_venv(prefix: str) -> bool:
    return os.path.exists(os.path.join(prefix, "pyvenv.cfg"))


if __name__ == "__main__":
    main()
