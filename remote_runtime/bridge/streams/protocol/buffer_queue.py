"""Buffers that wait to be written to a socket, in order."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Callable, Deque, List

from .frames import Buffer

_MAX_BUFFERS = 64  # of one call


class BufferQueue:
    """``size``: bytes that wait."""

    def __init__(self) -> None:
        self.size = 0
        self._buffers: Deque[Buffer] = deque()
        self._views = 0  # so many of the last ones are only valid until ``keep``

    def append(self, buffer: Buffer) -> None:
        if buffer:
            self._buffers.append(buffer)
            self.size += len(buffer)

    def append_view(self, buffer: Buffer) -> None:
        """A buffer that is valid until ``keep`` only."""
        self.append(buffer)
        self._views += 1

    def keep(self) -> None:
        """Copy what is left of the views."""
        count = len(self._buffers)
        for index in range(max(0, count - self._views), count):
            self._buffers[index] = bytes(self._buffers[index])
        self._views = 0

    def clear(self) -> None:
        self._buffers.clear()
        self.size = self._views = 0

    def send(self, send: Callable[[List[Buffer]], int]) -> int:
        """Write as much as ``send`` accepts; how many bytes that was. Raises what ``send`` raises; what it accepted
        before is sent no more."""
        before = self.size
        while self._buffers:
            buffers = list(islice(self._buffers, _MAX_BUFFERS))
            sent = send(buffers)
            self._drop(sent)
            if sent < sum(map(len, buffers)):
                break
        return before - self.size

    def _drop(self, count: int) -> None:
        self.size -= count
        while count:
            first = self._buffers[0]
            if len(first) > count:
                self._buffers[0] = memoryview(first)[count:]
                return
            count -= len(first)
            self._buffers.popleft()
