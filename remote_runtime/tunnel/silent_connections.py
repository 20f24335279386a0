"""Connections that have said nothing yet, where each has a thread of its own (see ``ssh.engine.silent``)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from .connection_stats import TLS_HANDSHAKE, ConnectionRecord

MAX_SILENT = 512
MAX_HEAD_BYTES = 8 << 10
_POLL_S = 0.5


class SilentConnections:
    """At most ``most``: when another one comes, the oldest is given up."""

    def __init__(self, max_connections: int, is_closing: Callable[[], bool]) -> None:
        self._max_connections = max(1, max_connections)
        self._is_closing = is_closing
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, ConnectionRecord] = {}  # the oldest first

    def add(self, client: socket.socket, record: ConnectionRecord) -> ConnectionRecord | None:
        """Whose connection was ended for it, if so."""
        with self._lock:
            self._clients[client] = record
            if len(self._clients) <= self._max_connections:
                return None
            self._clients = {
                each: visit
                for each, visit in self._clients.items()
                if visit.outcome == "waiting" and each.fileno() >= 0
            }
            if len(self._clients) <= self._max_connections:
                return None
            oldest = next(iter(self._clients))
            with contextlib.suppress(OSError):  # it has left by itself
                oldest.shutdown(socket.SHUT_RDWR)
            return self._clients.pop(oldest)

    def wait_for_request(self, client: socket.socket) -> bytes:
        """The beginning of what it asks for, which stays to be read; empty when it leaves, or is ended. Waits for as
        long as that takes. The client does not block afterwards."""
        received = b""
        with contextlib.suppress(OSError):  # a reset, which is no word
            client.settimeout(_POLL_S)
            while not self._is_closing():
                with contextlib.suppress(TimeoutError):
                    received = client.recv(MAX_HEAD_BYTES, socket.MSG_PEEK)
                    if not received or received[:1] == TLS_HANDSHAKE or is_request_complete(client, received):
                        break
            client.setblocking(False)
        return received


def is_request_complete(client: socket.socket, received: bytes) -> bool:
    """Whether the head of an HTTP request is complete, or as long as none needs to be, or it is none, which the server
    refuses. Else the socket is readable again only once it has more: nothing is taken from those who are not served."""
    complete = b"\r\n\r\n" in received or len(received) >= MAX_HEAD_BYTES or not received[:1].isupper()
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if complete else len(received) + 1)
    except OSError:  # Windows has it in name only
        return True
    return complete
