"""Connections whose clients have sent nothing yet, where each has a thread (see ``ssh.forwarder.silent_clients``)."""

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
    """At most ``max_connections``: one more closes the oldest."""

    def __init__(self, max_connections: int, is_closing: Callable[[], bool]) -> None:
        self._max_connections = max(1, max_connections)
        self._is_closing = is_closing
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, ConnectionRecord] = {}  # the oldest first

    def add(self, client: socket.socket, record: ConnectionRecord) -> ConnectionRecord | None:
        """The record of the connection that was closed for it, if any."""
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
            with contextlib.suppress(OSError):  # it is closed already
                oldest.shutdown(socket.SHUT_RDWR)
            return self._clients.pop(oldest)

    def wait_for_request(self, client: socket.socket) -> bytes:
        """Wait until the client's request is complete: its first bytes, which are not consumed. Empty if the client
        leaves or is closed. The socket is non-blocking afterwards."""
        received = b""
        with contextlib.suppress(OSError):  # a reset
            client.settimeout(_POLL_S)
            while not self._is_closing():
                with contextlib.suppress(TimeoutError):
                    received = client.recv(MAX_HEAD_BYTES, socket.MSG_PEEK)
                    if not received or received[:1] == TLS_HANDSHAKE or is_request_complete(client, received):
                        break
            client.setblocking(False)
        return received


def is_request_complete(client: socket.socket, received: bytes) -> bool:
    """Whether the head of an HTTP request is complete, or too long, or no HTTP, which the server will refuse. Otherwise
    the socket becomes readable again only with more data: nothing is consumed before the client is served."""
    complete = b"\r\n\r\n" in received or len(received) >= MAX_HEAD_BYTES or not received[:1].isupper()
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if complete else len(received) + 1)
    except OSError:  # Windows does not support it
        return True
    return complete
