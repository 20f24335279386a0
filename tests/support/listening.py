"""A TCP server of a test."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Listening:
    """On loopback, with a thread of its own for each connection. ``close`` ends them all."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.start(self._accept)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

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
            self.start(self.serve, self.keep(connection))
