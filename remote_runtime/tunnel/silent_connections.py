"""Connections that have said nothing yet, where each has a thread of its own (see ``ssh.engine.silent``)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from .connection_stats import TLS_HANDSHAKE, Visit

MOST_SILENT = 512
HEAD_BYTES = 8 << 10
_TICK_S = 0.5


class Silent:
    """At most ``most``: when another one comes, the oldest is given up."""

    def __init__(self, most: int, is_over: Callable[[], bool]) -> None:
        self._most = max(1, most)
        self._is_over = is_over
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, Visit] = {}  # the oldest first

    def enter(self, client: socket.socket, visit: Visit) -> Visit | None:
        """Whose connection was ended for it, if so."""
        with self._lock:
            self._clients[client] = visit
            if len(self._clients) <= self._most:
                return None
            self._clients = {
                each: visit for each, visit in self._clients.items() if visit.became == "waiting" and each.fileno() >= 0
            }
            if len(self._clients) <= self._most:
                return None
            oldest = next(iter(self._clients))
            with contextlib.suppress(OSError):  # it has left by itself
                oldest.shutdown(socket.SHUT_RDWR)
            return self._clients.pop(oldest)

    def first_words(self, client: socket.socket) -> bytes:
        """The beginning of what it asks for, which stays to be read; empty when it leaves, or is ended. Waits for as
        long as that takes. The client does not block afterwards."""
        said = b""
        with contextlib.suppress(OSError):  # a reset, which is no word
            client.settimeout(_TICK_S)
            while not self._is_over():
                with contextlib.suppress(TimeoutError):
                    said = client.recv(HEAD_BYTES, socket.MSG_PEEK)
                    if not said or said[:1] == TLS_HANDSHAKE or is_asked(client, said):
                        break
            client.setblocking(False)
        return said


def is_asked(client: socket.socket, said: bytes) -> bool:
    """Whether the head of an HTTP request is complete, or as long as none needs to be, or it is none, which the server
    refuses. Else the socket is readable again only once it has more: nothing is taken from those who are not served."""
    complete = b"\r\n\r\n" in said or len(said) >= HEAD_BYTES or not said[:1].isupper()
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if complete else len(said) + 1)
    except OSError:  # Windows has it in name only
        return True
    return complete
