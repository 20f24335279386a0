"""From a channel to its local socket: at once where the socket takes it, kept in order where it does not."""

from __future__ import annotations

import socket
import sys

_CHUNK_BYTES = 64 << 10
_MOST_PIECES = 64  # of one call, far below every system's limit


class Inward:
    """``waiting``: bytes that the reader has not taken yet."""

    def __init__(self) -> None:
        self.waiting = 0
        self._fresh: list[memoryview] = []
        self._kept: list[bytearray] = []
        self._offset = 0

    def take(self, content: memoryview) -> None:
        """A view that holds until the next ``deliver`` or ``keep``."""
        self._fresh.append(content)
        self.waiting += len(content)

    def keep(self) -> None:
        """Nobody is there to read: copy what is fresh. Small pieces share a chunk, else each would cost an object."""
        for view in self._fresh:
            if not self._kept or len(self._kept[-1]) >= _CHUNK_BYTES:
                self._kept.append(bytearray())
            self._kept[-1] += view
        self._fresh.clear()

    def rest(self) -> bytes:
        """All that waits, copied."""
        self.keep()
        return b"".join(self._kept)[self._offset :]

    def drop(self) -> None:
        if not self.waiting:
            return
        self._fresh.clear()
        self._kept.clear()
        self.waiting = self._offset = 0

    def deliver(self, sock: socket.socket) -> int:
        """How many bytes the socket took; the rest is kept. Raises ``OSError``."""
        before = self.waiting
        try:
            if not self._kept:
                self._send_fresh(sock)
                return before - self.waiting
            self.keep()
            self._send_kept(sock)
        except (BlockingIOError, InterruptedError):
            self.keep()
        return before - self.waiting

    def _send_fresh(self, sock: socket.socket) -> None:
        if len(self._fresh) == 1:  # most often
            sent = sock.send(self._fresh[0])
            self.waiting -= sent
            if not self.waiting:
                self._fresh.clear()
                return
            self._fresh[0] = self._fresh[0][sent:]
            raise BlockingIOError
        while self._fresh:
            pieces = self._fresh[:_MOST_PIECES]
            sent = _send(sock, pieces)
            self.waiting -= sent
            done = 0
            while done < len(pieces) and sent >= len(pieces[done]):
                sent -= len(pieces[done])
                done += 1
            if sent:
                self._fresh[done] = self._fresh[done][sent:]
            del self._fresh[:done]
            if done < len(pieces):
                raise BlockingIOError

    def _send_kept(self, sock: socket.socket) -> None:
        while self._kept:
            chunk = self._kept[0]
            with memoryview(chunk) as view:
                sent = sock.send(view[self._offset :])
            self.waiting -= sent
            self._offset += sent
            if self._offset < len(chunk):
                raise BlockingIOError
            del self._kept[0]  # a large chunk each: there are never many
            self._offset = 0


def _send(sock: socket.socket, pieces: list[memoryview]) -> int:
    if len(pieces) > 1 and sys.platform != "win32":
        return sock.sendmsg(pieces)
    return sock.send(pieces[0])
