"""Whether a package can be imported: its metadata stays there when what it needs was replaced or removed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping

from .reply import Answers

WITHIN_S = 30.0
SERVERS = {"notebook6": "notebook.notebookapp", "server1": "jupyter_server.serverapp"}
KERNEL = "ipykernel.kernelapp"
LAST_LINES = 6
MOST_BYTES = 65536


def server_module(kind: str) -> str:
    return SERVERS.get(kind, SERVERS["server1"])


class Import:
    """An import in another Python, at work meanwhile. Used once; ended with its block."""

    def __init__(self, python: str, module: str, env: Mapping[str, str]) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._said = bytearray()
        self._cannot_start = ""
        try:
            self._process = subprocess.Popen(
                [python, "-c", "import " + module], cwd=os.sep, env=dict(env),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as exc:
            self._cannot_start = f"{python} cannot be run: {exc.strerror}"

    def __enter__(self) -> Import:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process:
                pass

    def trouble(self, answers: Answers) -> str:
        """Its last words if it failed; empty if it can be imported, or if that cannot be said in time. One that says
        more than a pipe holds stands still and counts as such."""
        if self._process is None or self._process.stderr is None:
            return self._cannot_start
        until = time.monotonic() + min(WITHIN_S, answers.remaining_s() / 2)
        while self._process.poll() is None:
            if time.monotonic() > until:
                return ""
            answers.tick(0.02)
        if self._process.returncode == 0:
            return ""
        said = self._process.stderr.read(MOST_BYTES).decode("utf-8", "replace").strip().splitlines()
        return "\n".join(said[-LAST_LINES:]) or f"it ended with status {self._process.returncode}"
