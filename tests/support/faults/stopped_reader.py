"""A kernel that prints to a WebSocket whose client does not read, through a resumable stream."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from remote_runtime.core.deadline import Deadline, wait_until

from ..clients.bridge_client import http_request, odd_server
from ..clients.raw_carrier import RawCarrier
from ..clients.stream_socket import StreamSocket
from ..servers.jupyter import JupyterServer

PIECE_BYTES = 1_000_000
CELL_PIECES = 5
CODE = """
import pathlib, sys
for number in {numbers}:
    print(number, 'x' * {size})
    sys.stdout.flush()
pathlib.Path({done!r}).touch()"""
NO_LIMITS = {"iopub_data_rate_limit": 0, "iopub_msg_rate_limit": 0}  # by which Jupyter itself drops output


def unlimited_server() -> JupyterServer:
    return odd_server(extra_config={"ServerApp": NO_LIMITS, "ZMQChannelsWebsocketConnection": NO_LIMITS})


class StreamKernel:
    """A kernel whose WebSocket is in stream 1 of ``carrier``."""

    def __init__(self, server: JupyterServer, carrier: RawCarrier, kernel_id: str) -> None:
        self.socket = StreamSocket(carrier, 1, server, f"/api/kernels/{kernel_id}/channels")
        self._messages = self.socket.messages()

    def execute(self, code: str) -> str:
        """Send a cell; its id."""
        message_id = uuid.uuid4().hex
        header = {"msg_id": message_id, "msg_type": "execute_request", "session": "s", "username": "", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        rest = {"parent_header": {}, "metadata": {}, "buffers": [], "channel": "shell"}
        self.socket.send(json.dumps({"header": header, "content": content, **rest}))
        return message_id

    def printed(self, message_id: str) -> Iterator[str]:
        """What the cell prints, until it has ended or the WebSocket is closed."""
        for text in self._messages:
            message = json.loads(text)
            if message["parent_header"].get("msg_id") != message_id or message.get("channel") != "iopub":
                continue
            if message["msg_type"] == "stream":
                yield message["content"]["text"]
            elif message["content"].get("execution_state") == "idle":
                return


@contextmanager
def stream_kernel(server: JupyterServer, carrier: RawCarrier) -> Iterator[StreamKernel]:
    """A new kernel that has run a cell."""
    kernel_id = http_request(server, "POST", "/api/kernels", token=server.token, body=b"{}").json()["id"]
    try:
        kernel = StreamKernel(server, carrier, kernel_id)
        assert list(kernel.printed(kernel.execute("print(6 * 7)"))) == ["42\n"]
        yield kernel
    finally:
        http_request(server, "DELETE", f"/api/kernels/{kernel_id}", token=server.token)


@dataclass(frozen=True)
class Printed:
    """``grown_bytes``: of the server's memory at most, while nothing was read. ``numbers``: of the pieces that arrived
    afterwards, in their order."""

    grown_bytes: int
    numbers: list[int]
    printed_s: float
    read_s: float


def print_to_stopped_reader(server: JupyterServer, count: int, limit_s: float) -> Printed:
    """``count`` pieces of ``PIECE_BYTES``. Raises ``DeadlinePassed``.

    A cell prints a few only, and the next one begins when the server has seen its end: what a kernel prints faster than
    Jupyter takes it waits in ZeroMQ's memory in the server, also where the client reads at once."""
    process, deadline = psutil.Process(server.pid), Deadline(limit_s)
    with RawCarrier(server.port, server.token) as carrier, stream_kernel(server, carrier) as kernel:
        before = most = process.memory_info().rss
        began = time.monotonic()
        cells = []
        for first in range(0, count, CELL_PIECES):
            numbers = range(first, min(count, first + CELL_PIECES))
            done = server.home / f"printed-{first}"
            cells.append(kernel.execute(CODE.format(numbers=numbers, size=PIECE_BYTES, done=str(done))))
            most = max(most, _most_memory(server, process, done, deadline))
        printed = time.monotonic()
        text = "".join("".join(kernel.printed(cell)) for cell in cells)
        arrived = [int(line.partition(" ")[0]) for line in text.splitlines() if len(line) > PIECE_BYTES]
        return Printed(most - before, arrived, printed - began, time.monotonic() - printed)


def _most_memory(server: JupyterServer, process: psutil.Process, done: Path, deadline: Deadline) -> int:
    """The server's until the cell has ended and its kernel is idle."""
    most = 0

    def has_ended() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        if not done.exists():
            return False
        kernels = http_request(server, "GET", "/api/kernels", token=server.token).json()
        return all(kernel["execution_state"] == "idle" for kernel in kernels)

    wait_until(has_ended, deadline, every_s=0.01, what="the end of the cell")
    return most
