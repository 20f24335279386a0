"""Writes received data to a local socket, and buffers in order what the socket does not accept."""

from __future__ import annotations

import socket


class WriteBuffer:
    """``pending_bytes``: that the socket has not accepted yet."""

    def __init__(self) -> None:
        self.pending_bytes = 0
        self._copied = bytearray()
        self._views: list[memoryview] = []

    def append(self, content: memoryview) -> None:
        """``content`` must stay valid until the next ``send_to`` or ``copy``."""
        self._views.append(content)
        self.pending_bytes += len(content)

    def copy(self) -> None:
        for view in self._views:
            self._copied += view
        self._views.clear()

    def remaining(self) -> bytes:
        """A copy of all pending bytes."""
        self.copy()
        return bytes(self._copied)

    def clear(self) -> None:
        self._views.clear()
        self._copied.clear()
        self.pending_bytes = 0

    def send_to(self, sock: socket.socket) -> int:
        """How many bytes the socket accepted; the rest stays pending. Raises ``OSError``."""
        before = self.pending_bytes
        try:
            if len(self._views) == 1 and not self._copied:
                sent = sock.send(self._views[0])
                self._views[0] = self._views[0][sent:]
                self.pending_bytes -= sent
            self.copy()
            while self._copied:
                with memoryview(self._copied) as view:
                    sent = sock.send(view)
                del self._copied[:sent]
                self.pending_bytes -= sent
        except (BlockingIOError, InterruptedError):
            self.copy()
        return before - self.pending_bytes
