"""Explains why Jupyter did not start: a full disk, a package that cannot be imported, an extension, or its log."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping

from . import disk_space
from .interpreters import Interpreter
from .python_choice import BrokenPython
from .reply import ReplyWriter, ReportedError

IMPORT_TIMEOUT_S = 30.0
SERVER_MODULES = {"notebook6": "notebook.notebookapp", "server1": "jupyter_server.serverapp"}
KERNEL_MODULE = "ipykernel.kernelapp"
MAX_LINES = 6
MAX_BYTES = 65536


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
    return start_error(f"Jupyter ended (status {status})", log, hint)


def start_error(what: str, log: str, hint: str = "") -> ReportedError:
    return disk_space.disk_full_cause(log) or ReportedError(
        "jupyter-did-not-start", what, log or "it wrote nothing to its log", hint
    )


def server_module(kind: str) -> str:
    return SERVER_MODULES.get(kind, SERVER_MODULES["server1"])


class ImportCheck:
    """Imports a module with another Python in the background: metadata stays when what a package needs was removed.
    The ``with`` block ends it."""

    def __init__(self, python: str, module: str, env: Mapping[str, str]) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._start_error = ""
        try:
            self._process = subprocess.Popen(
                [python, "-c", "import " + module], cwd=os.sep, env=dict(env),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as exc:
            self._start_error = f"{python} cannot be run: {exc.strerror}"

    def __enter__(self) -> ImportCheck:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process:
                pass

    def problem(self, reply: ReplyWriter) -> str:
        """The last lines of the error; empty if the import works, or has no result in time, as when its output fills
        the pipe."""
        if self._process is None or self._process.stderr is None:
            return self._start_error
        until = time.monotonic() + min(IMPORT_TIMEOUT_S, reply.remaining_s() / 2)
        while self._process.poll() is None:
            if time.monotonic() > until:
                return ""
            reply.sleep(0.02)
        if self._process.returncode == 0:
            return ""
        output = self._process.stderr.read(MAX_BYTES).decode("utf-8", "replace").strip().splitlines()
        return "\n".join(output[-MAX_LINES:]) or f"it ended with status {self._process.returncode}"
