"""Whether a package can be imported: its metadata stays there when what it needs was replaced or removed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping

from .reply import ReplyWriter

TIMEOUT_S = 30.0
SERVER_MODULES = {"notebook6": "notebook.notebookapp", "server1": "jupyter_server.serverapp"}
KERNEL_MODULE = "ipykernel.kernelapp"
MAX_LINES = 6
MAX_BYTES = 65536


def server_module(kind: str) -> str:
    return SERVER_MODULES.get(kind, SERVER_MODULES["server1"])


class ImportCheck:
    """An import in another Python, at work meanwhile. Used once; ended with its block."""

    def __init__(self, python: str, module: str, env: Mapping[str, str]) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._said = bytearray()
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
        """Its last words if it failed; empty if it can be imported, or if that cannot be said in time. One that says
        more than a pipe holds stands still and counts as such."""
        if self._process is None or self._process.stderr is None:
            return self._start_error
        until = time.monotonic() + min(TIMEOUT_S, reply.remaining_s() / 2)
        while self._process.poll() is None:
            if time.monotonic() > until:
                return ""
            reply.sleep(0.02)
        if self._process.returncode == 0:
            return ""
        output = self._process.stderr.read(MAX_BYTES).decode("utf-8", "replace").strip().splitlines()
        return "\n".join(output[-MAX_LINES:]) or f"it ended with status {self._process.returncode}"
