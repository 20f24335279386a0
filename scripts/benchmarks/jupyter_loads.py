"""What a page asks of a Jupyter server through a tunnel: transfers, WebSockets, cells. Over blocking sockets: a client
library's own time would hide the tunnel's."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .tunnel_candidates import Tunnel
from .tunnel_loads import OPENED_WITHIN_S, allow_open_files, connected

KIND = "jupyter"
SMALL, ECHO = "/bench/small", "/bench/echo"
_PIECE = bytes(1 << 20)
_UNENDING_BYTES = 1 << 40
_TEXT, _BINARY, _PING = 1, 2, 9


class WebSocket:
    """A client's end (RFC 6455). Its mask is zero, which costs no time."""

    def __init__(self, tunnel: Tunnel, path: str, token: str = "") -> None:
        self._sock = connected(tunnel, KIND)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"Upgrade: websocket\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        self._sock.sendall(_head("GET", path, token, "Connection: Upgrade", head).encode())
        status, self._received = _read_head(self._sock)
        if status != "101":
            raise RuntimeError(f"the WebSocket {path} was answered with {status}")

    def close(self) -> None:
        self._sock.close()

    def ask(self, content: bytes, *, text: bool = False) -> None:
        self._send(_TEXT if text else _BINARY, content)

    def receive(self) -> bytes:
        """The next message."""
        while True:
            head, size = self._exactly(2), 0
            size = head[1] & 127
            if size > 125:
                size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
            content = self._exactly(size)
            if head[0] & 15 in (_TEXT, _BINARY):
                return content
            if head[0] & 15 != _PING:
                raise ConnectionError("the WebSocket has ended")
            self._send(_PING + 1, content)

    def _send(self, kind: int, content: bytes) -> None:
        size = len(content)
        length = bytes((128 | size,)) if size < 126 else struct.pack("!BH", 128 | 126, size)
        self._sock.sendall(bytes((128 | kind,)) + length + bytes(4) + content)

    def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            more = self._sock.recv(1 << 16)
            if not more:
                raise ConnectionError("the WebSocket has ended")
            self._received += more
        content, self._received = self._received[:count], self._received[count:]
        return content


def download(tunnel: Tunnel, size: int) -> float:
    """Megabytes a second from the request to the last byte."""
    began = time.perf_counter()
    with _downloading(tunnel, size) as (connection, received):
        _discard(connection, size - received)
    return size / 1e6 / (time.perf_counter() - began)


def upload(tunnel: Tunnel, jupyter: Path, size: int) -> float:
    """Megabytes a second from the request to the answer, which comes after the last byte. ``jupyter``: see
    ``tunnel_machine``."""
    token = json.loads(jupyter.read_text())["token"]
    began = time.perf_counter()
    with connected(tunnel, KIND) as connection:
        connection.sendall(
            _head("POST", "/bench/upload", token, "Connection: close", f"Content-Length: {size}\r\n").encode()
        )
        left = size
        while left:
            left -= connection.send(memoryview(_PIECE)[:left])
        status, body = _read_head(connection)
        while more := connection.recv(1 << 16):
            body += more
    if status != "200" or int(body) != size:
        raise RuntimeError(f"an upload of {size} bytes was answered with {status}: {body[:100]!r}")
    return size / 1e6 / (time.perf_counter() - began)


def echoes_ms(tunnel: Tunnel, count: int, within_s: float) -> list[float]:
    """Round trips of 100 bytes on one WebSocket, as many as there is time for."""
    with contextlib.closing(WebSocket(tunnel, ECHO)) as echo:
        end = time.monotonic() + within_s
        times: list[float] = []
        while len(times) < count and time.monotonic() < end:
            times.append(_echo(echo))
        return times


def echoes_beside_a_download(
    tunnel: Tunnel, count: int, *, after_s: float, within_s: float
) -> tuple[list[float], float]:
    """The round trips while another connection downloads at full speed, and its megabytes a second meanwhile."""
    received, is_over = [0], threading.Event()

    def discard(connection: socket.socket) -> None:
        buffer = bytearray(1 << 20)
        while not is_over.is_set():
            count = connection.recv_into(buffer)
            if not count:
                return
            received[0] += count

    with _downloading(tunnel, _UNENDING_BYTES) as (connection, _):
        reader = threading.Thread(target=discard, args=(connection,))
        reader.start()
        try:
            time.sleep(after_s)
            began, before = time.perf_counter(), received[0]
            times = echoes_ms(tunnel, count, within_s)
            return times, (received[0] - before) / 1e6 / (time.perf_counter() - began)
        finally:
            is_over.set()
            reader.join()


def cells_ms(tunnel: Tunnel, jupyter: Path, count: int) -> list[float]:
    """Each from its request to its reply and the kernel's idle state. ``jupyter``: see ``tunnel_machine``."""
    known = json.loads(jupyter.read_text())
    with contextlib.closing(WebSocket(tunnel, known["channels"], known["token"])) as channels:
        _run_cell(channels)
        times = []
        for _ in range(count):
            began = time.perf_counter()
            _run_cell(channels)
            times.append(1000 * (time.perf_counter() - began))
        return times


@contextlib.contextmanager
def idle_websockets(tunnel: Tunnel, count: int) -> Iterator[tuple[int, float]]:
    """How many of them were opened, and used once, in reasonable time; in how many seconds."""
    allow_open_files()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        opened = 0
        with contextlib.suppress(OSError):
            while opened < count and time.monotonic() - began < OPENED_WITHIN_S:
                _echo(stack.enter_context(contextlib.closing(WebSocket(tunnel, ECHO))))
                opened += 1
        yield opened, time.monotonic() - began


def _echo(echo: WebSocket) -> float:
    began = time.perf_counter()
    echo.ask(bytes(100))
    if len(echo.receive()) != 100:
        raise RuntimeError("the echo is not what was sent")
    return 1000 * (time.perf_counter() - began)


def _run_cell(channels: WebSocket) -> None:
    asked = uuid.uuid4().hex
    content = {"code": "print(1)", "silent": False, "store_history": False, "allow_stdin": False}
    header = {"msg_id": asked, "msg_type": "execute_request", "version": "5.3", "session": "bench", "username": "bench"}
    message: dict[str, Any] = {"header": header, "parent_header": {}, "metadata": {}, "channel": "shell"}
    channels.ask(json.dumps({**message, "content": {**content, "user_expressions": {}}}).encode(), text=True)
    missing = {"execute_reply", "idle"}
    while missing:
        message = json.loads(channels.receive())
        if message["parent_header"].get("msg_id") == asked:
            missing -= {message["msg_type"], message["content"].get("execution_state", "")}


@contextlib.contextmanager
def _downloading(tunnel: Tunnel, size: int) -> Iterator[tuple[socket.socket, int]]:
    """The connection after the head of the answer, and how many bytes of the content came with it."""
    with connected(tunnel, KIND) as connection:
        connection.sendall(_head("GET", f"/bench/download?bytes={size}", "", "Connection: close").encode())
        status, rest = _read_head(connection)
        if status != "200":
            raise RuntimeError(f"a download was answered with {status}")
        yield connection, len(rest)


def _discard(connection: socket.socket, left: int) -> None:
    buffer = memoryview(bytearray(1 << 20))
    while left:
        count = connection.recv_into(buffer[:left])
        if not count:
            raise ConnectionError("the download has ended")
        left -= count


def _head(method: str, path: str, token: str, connection: str, more: str = "") -> str:
    authorization = f"Authorization: token {token}\r\n" if token else ""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{connection}\r\n{authorization}{more}\r\n"


def _read_head(connection: socket.socket) -> tuple[str, bytes]:
    """The status, and what came after the head."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionError(f"the answer ends after {len(received)} bytes")
        received += more
    head, _, rest = received.partition(b"\r\n\r\n")
    return head.split(maxsplit=2)[1].decode(), rest
