"""Services of the machine, as a forwarded connection finds them: real sockets, a thread for each connection."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import socket
from collections.abc import Callable
from pathlib import Path

from remote_runtime.core.model import Secret

from .tcp_server import Listening

TOKEN = Secret("ab" * 24)
WITHIN_S = 20.0
Handler = Callable[[socket.socket], None]


class Target(Listening):
    """A service of the machine: ``handle`` serves each connection in a thread. ``path``: on this unix socket."""

    def __init__(self, handle: Handler, path: Path | None = None) -> None:
        self._handle = handle
        super().__init__(_listener(path) if path else None)
        if path:
            self.address = str(path), 0

    def serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(WITHIN_S)
            self._handle(connection)


def _listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    return listener


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def echo(connection: socket.socket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def prove_then(handle: Handler, token: Secret = TOKEN, at: str = "") -> Handler:
    """A server that answers the question who it is first, as our bridge does. ``at``: where it says that it listens."""

    def serve(connection: socket.socket) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            more = connection.recv(1)
            if not more:
                return
            asked += more
        nonce = re.findall(rb"nonce=([0-9a-f]+)", asked)[0]
        message = b"remote-runtime-identity:" + nonce + (f"@{at}".encode() if b"&at=" in asked else b"")
        proof = hmac.new(token.reveal().encode(), message, hashlib.sha256).hexdigest()
        body = f'{{"hmac": "{proof}"}}'
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        handle(connection)

    return serve
