"""A request whose body never ends, from who has no token."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from types import TracebackType

MIB = 1 << 20
PIECE = b"\0" * (64 * 1024)
LIMIT_S = 20.0


class Flood:
    """``line``: method and path. The headers say how the body is sent; ``send`` sends some of it, as far as it goes."""

    def __init__(self, port: int, line: str, headers: Mapping[str, str]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self._is_chunked = "Transfer-Encoding" in headers
        head = [f"{line} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
        self._socket.sendall("\r\n".join([*head, "", ""]).encode())

    def __enter__(self) -> Flood:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, size: int) -> int:
        """How many bytes were taken; fewer than ``size`` when the server ended the connection."""
        piece = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if self._is_chunked else PIECE
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < size:
                self._socket.sendall(piece)
                sent += len(PIECE)
        return sent

    def status(self) -> int:
        """Of the answer; what the server sent before it ended the connection has arrived."""
        answer = b""
        while b"\r\n" not in answer and (more := self._socket.recv(4096)):
            answer += more
        return int(answer.split(b" ", 2)[1]) if answer else 0
