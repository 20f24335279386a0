"""Explains why Jupyter did not start: a full disk, a package that cannot be imported, an extension, or its log."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import disk_space, processes
from .interpreters import Interpreter
from .python_choice import BrokenPython

IMPORT_TIMEOUT_S = 30.0
SERVER_MODULES = {"notebook6": "notebook.notebookapp", "server1": "jupyter_server.serverapp"}
KERNEL_MODULE = "ipykernel.kernelapp"
MAX_LINES = 6


def explain_exit(
    interpreter: Interpreter, env: Mapping[str, str], status: int, log: str, reply: ReplyWriter
) -> Exception:
    """``BrokenPython`` or ``ReportedError`` for a server that ended before it answered. ``log``: its last lines."""
    full = disk_space.disk_full_cause(log)
    if full:
        return full
    with ImportCheck(interpreter.path, server_module(interpreter.kind), env) as jupyter:
        why = jupyter.problem(reply)
    if why:
        return BrokenPython(interpreter.path, "Jupyter", why)
    match = re.search(r"Jupyter was ended by sys\.exit\(.*\) in (\w+)", log)
    hint = f"On the machine: `{interpreter.path} -m jupyter server extension disable {match.group(1)}`" if match else ""
    return start_error(f"Jupyter exited (status {status})", log, hint)


def start_error(what: str, log: str, hint: str = "") -> ReportedError:
    return disk_space.disk_full_cause(log) or ReportedError(
        "jupyter-did-not-start", what, log or "its log is empty", hint
    )


def server_module(kind: str) -> str:
    return SERVER_MODULES.get(kind, SERVER_MODULES["server1"])


class ImportCheck(processes.BackgroundProcess):
    """Imports a module with another Python: a package's metadata stays when what it needs was removed."""

    def __init__(self, python: str, module: str, env: Mapping[str, str]) -> None:
        super().__init__([python, "-c", "import " + module], env, streams="stderr")
        self._python = python

    def problem(self, reply: ReplyWriter) -> str:
        """The last lines of the error; empty if the import works, or has no result in time."""
        if self.start_error:
            return f"{self._python} can't be run: {self.start_error}"
        status, output = self.wait(reply.sleep, time.monotonic() + min(IMPORT_TIMEOUT_S, reply.remaining_s() / 2))
        if not status:
            return ""
        return "\n".join(output.strip().splitlines()[-MAX_LINES:]) or f"it exited with status {status}"
