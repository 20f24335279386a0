"""A server that the launcher started on a machine, and a kernel of it that runs cells with secrets."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import connect

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import Server
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from remote_runtime.jupyter.remote import runtime_dir

from ..clients.bridge_client import LIMIT_S
from ..clients.page import execute
from .local_machine import LocalMachine

SECRETS = ("s3cret-from-cell", "out-of-the-cell-42")
CODE = "password = 's3cret-from-cell'; print('out-of-the-cell', 6 * 7, sep='-')"


class RunningKernel:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._kernel = _post(server, "/api/kernels")["id"]
        self._run("print('ready')")

    @property
    def runtime_folder(self) -> Path:
        return Path(runtime_dir.path_of(self._server.directory))

    def run_secrets(self) -> None:
        assert self._run(CODE) == SECRETS[1]

    def restart(self) -> None:
        _post(self._server, f"/api/kernels/{self._kernel}/restart")
        self._run("print('ready')")

    def _run(self, code: str) -> str:
        """On a connection of its own: the server makes sure that the kernel's answers arrive there."""
        path = f"/api/kernels/{self._kernel}/channels?token={self._server.token.reveal()}"
        uri = f"ws://127.0.0.1:{self._server.port}{path}"
        with connect(uri, open_timeout=LIMIT_S, close_timeout=LIMIT_S, proxy=None) as channels:
            return execute(channels, code)


@contextmanager
def machine_with_a_kernel(home: Path, settings: JupyterSettings | None = None) -> Iterator[RunningKernel]:
    machine = LocalMachine(home)
    wanted = jupyter.ServerSpec("work", "laptop1", settings or JupyterSettings(), (COLAB_ORIGIN,))
    try:
        yield RunningKernel(jupyter.ensure(machine.run, wanted, progress=lambda text: None, deadline=Deadline(60)))
    finally:
        jupyter.stop(machine.run, wanted, deadline=Deadline(40))


def _post(server: Server, path: str) -> dict[str, str]:
    headers = {"Authorization": f"token {server.token.reveal()}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    try:
        connection.request("POST", path, b"{}", headers)
        found = json.load(connection.getresponse())
    finally:
        connection.close()
    assert isinstance(found, dict)
    return found
