"""Who answers at a port in a server's place: it says something, waits, and hangs up or lets the visitor through."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Welcome = Callable[["Visit"], None]


class Visit:
    """One connection. ``number`` counts them from 1."""

    def __init__(self, client: socket.socket, number: int) -> None:
        self.client = client
        self.number = number
        self.at = time.monotonic()

    def says(self, text: bytes) -> None:
        self.client.sendall(text)

    def leads_to(self, port: int) -> None:
        """Carries bytes between the visitor and ``port`` until one of them ends."""
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_carry, args=(server, self.client), daemon=True)
            back.start()
            _carry(self.client, server)
            back.join(10)


class Doorman:
    """``visits``: who came. ``port``: where."""

    def __init__(self, welcome: Welcome) -> None:
        self._welcome = welcome
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.visits: list[Visit] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for visit in self.visits:
            with contextlib.suppress(OSError):
                visit.client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            visit = Visit(client, len(self.visits) + 1)
            self.visits.append(visit)
            threading.Thread(target=self._receive, args=(visit,), daemon=True).start()

    def _receive(self, visit: Visit) -> None:
        with visit.client, contextlib.suppress(OSError):
            self._welcome(visit)


@contextlib.contextmanager
def doorman(welcome: Welcome) -> Iterator[Doorman]:
    there = Doorman(welcome)
    try:
        yield there
    finally:
        there.leave()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
