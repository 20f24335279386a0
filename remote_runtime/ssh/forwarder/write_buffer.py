"""Writes received data to a local socket, and buffers in order what the socket does not accept."""

from __future__ import annotations

import socket
import sys

_CHUNK_BYTES = 64 << 10
_MAX_VIEWS_PER_CALL = 64  # of one call, far below every system's limit


class WriteBuffer:
    """``pending_bytes``: that the socket has not accepted yet."""

    def __init__(self) -> None:
        self.pending_bytes = 0
        self._views: list[memoryview] = []
        self._chunks: list[bytearray] = []
        self._offset = 0

    def append(self, content: memoryview) -> None:
        """``content`` must stay valid until the next ``send_to`` or ``copy``."""
        self._views.append(content)
        self.pending_bytes += len(content)

    def copy(self) -> None:
        """Copy the views, small ones together into chunks."""
        for view in self._views:
            if not self._chunks or len(self._chunks[-1]) >= _CHUNK_BYTES:
                self._chunks.append(bytearray())
            self._chunks[-1] += view
        self._views.clear()

    def remaining(self) -> bytes:
        """A copy of all pending bytes."""
        self.copy()
        return b"".join(self._chunks)[self._offset :]

    def clear(self) -> None:
        if not self.pending_bytes:
            return
        self._views.clear()
        self._chunks.clear()
        self.pending_bytes = self._offset = 0

    def send_to(self, sock: socket.socket) -> int:
        """How many bytes the socket accepted; the rest stays pending. Raises ``OSError``."""
        before = self.pending_bytes
        try:
            if not self._chunks:
                self._send_views(sock)
                return before - self.pending_bytes
            self.copy()
            self._send_chunks(sock)
        except (BlockingIOError, InterruptedError):
            self.copy()
        return before - self.pending_bytes

    def _send_views(self, sock: socket.socket) -> None:
        if len(self._views) == 1:  # most often
            sent = sock.send(self._views[0])
            self.pending_bytes -= sent
            if not self.pending_bytes:
                self._views.clear()
                return
            self._views[0] = self._views[0][sent:]
            raise BlockingIOError
        while self._views:
            views = self._views[:_MAX_VIEWS_PER_CALL]
            sent = _send(sock, views)
            self.pending_bytes -= sent
            done = 0
            while done < len(views) and sent >= len(views[done]):
                sent -= len(views[done])
                done += 1
            if sent:
                self._views[done] = self._views[done][sent:]
            del self._views[:done]
            if done < len(views):
                raise BlockingIOError

    def _send_chunks(self, sock: socket.socket) -> None:
        while self._chunks:
            chunk = self._chunks[0]
            with memoryview(chunk) as view:
                sent = sock.send(view[self._offset :])
            self.pending_bytes -= sent
            self._offset += sent
            if self._offset < len(chunk):
                raise BlockingIOError
            del self._chunks[0]  # chunks are large, so the list is short
            self._offset = 0


def _send(sock: socket.socket, views: list[memoryview]) -> int:
    if len(views) > 1 and sys.platform != "win32":
        return sock.sendmsg(views)
    return sock.send(views[0])
