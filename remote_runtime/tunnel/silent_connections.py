"""Limits the connections whose clients have sent nothing yet, and waits for their requests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .connection_stats import TLS_HANDSHAKE

MAX_SILENT = 512
MAX_HEAD_BYTES = 8 << 10
_POLL_S = 0.5
T = TypeVar("T")


class OldestFirst(Generic[T]):
    """Keeps at most ``max_count`` silent items: one more displaces the oldest. For any thread."""

    def __init__(self, max_count: int, is_silent: Callable[[T], bool]) -> None:
        self._max_count = max(1, max_count)
        self._is_silent = is_silent
        self._lock = threading.Lock()
        self._items: list[T] = []

    def add(self, item: T) -> T | None:
        """The item that was displaced, if any."""
        with self._lock:
            self._items.append(item)
            if len(self._items) > self._max_count:
                self._items = [each for each in self._items if self._is_silent(each)]
            return self._items.pop(0) if len(self._items) > self._max_count else None


def wait_for_request(client: socket.socket, is_closing: Callable[[], bool]) -> bytes:
    """Wait until the client's request is complete: its first bytes, which are not consumed. Empty if the client
    leaves or is closed. The socket is non-blocking afterwards."""
    received = b""
    with contextlib.suppress(OSError):  # a reset
        client.settimeout(_POLL_S)
        while not is_closing():
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
