"""A TCP server of a test."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

Listener = TypeVar("Listener", bound="Listening")


class Listening(ABC):
    """A thread of its own for each connection to ``listener``, else to a port of loopback. ``close``, or the end of
    ``with``, ends them all. ``connections``: how many there were."""

    def __init__(self, listener: socket.socket | None = None) -> None:
        self.connections = 0
        self._listener = listener or socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.start(self._accept)

    def __enter__(self: Listener) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def serve(self, connection: socket.socket) -> None:
        """In a thread of its own; it closes the connection."""

    def keep(self, sock: socket.socket) -> socket.socket:
        """Until the end."""
        self._sockets.append(sock)
        return sock

    def start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self.start(self.serve, self.keep(connection))
