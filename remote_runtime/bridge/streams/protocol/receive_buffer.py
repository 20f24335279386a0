"""The order of the bytes that arrive for one direction of a stream, and how many more the peer may send."""

from __future__ import annotations

from bisect import bisect_right
from typing import Dict, Iterable, Iterator, List, Optional

from .frames import FIN, MAX_DATA_BYTES, Buffer, ProtocolError

INITIAL_WINDOW_BYTES = 1 << 20
MAX_WINDOW_BYTES = 32 << 20
_MAX_EARLY_PIECES = 4096


class ReceiveBuffer:
    """``received``: all bytes before this offset have arrived; ``delivered``: were written to the local connection;
    ``end``: where the peer's bytes end, with ``end_flags``. ``window``: bytes that may be under way; ``granted``: the
    offset that the peer may send up to."""

    def __init__(self) -> None:
        self.received = 0
        self.delivered = 0
        self.end: Optional[int] = None
        self.end_flags = 0
        self.window = INITIAL_WINDOW_BYTES
        self.granted = INITIAL_WINDOW_BYTES
        self._early: Dict[int, bytearray] = {}  # pieces that do not overlap, by offset
        self._offsets: List[int] = []  # theirs, in order

    @property
    def early_bytes(self) -> int:
        return sum(map(len, self._early.values()))

    def grant(self) -> int:
        """The offset that the peer may send up to now; it never falls."""
        self.granted = max(self.granted, self.delivered + self.window)
        return self.granted

    def add(self, offset: int, piece: Buffer, flags: int) -> Iterable[Buffer]:
        """The pieces that are next in order. Each must be used before the next one is taken. Raises
        ``ProtocolError``."""
        end = offset + len(piece)
        if offset == self.received and not flags and not self._offsets and self.end is None and end <= self.granted:
            self.received = end  # as most pieces are
            return (piece,)
        return self._add(offset, piece, flags)

    def _add(self, offset: int, piece: Buffer, flags: int) -> Iterator[Buffer]:
        end = offset + len(piece)
        if end > self.granted + MAX_DATA_BYTES:
            raise ProtocolError("more bytes than the window allows")
        if flags & FIN:
            if end < self.received or (self.end is not None and self.end != end):
                raise ProtocolError("a stream with two ends")
            self.end, self.end_flags = end, flags
        if self.end is not None and end > self.end:
            raise ProtocolError("bytes after the end of a stream")
        if offset > self.received:
            self._keep(offset, piece)
        elif end > self.received:
            yield self._next(piece[self.received - offset :])
            while self._offsets and self._offsets[0] <= self.received:
                offset = self._offsets.pop(0)
                early = self._early.pop(offset)
                if offset + len(early) > self.received:
                    yield self._next(memoryview(early)[self.received - offset :])

    def clear(self) -> None:
        self._early.clear()
        self._offsets.clear()

    def _next(self, piece: Buffer) -> Buffer:
        self.received += len(piece)
        return piece

    def _keep(self, offset: int, piece: Buffer) -> None:
        """Keep those parts of an early piece that are not kept yet."""
        base, end = offset, offset + len(piece)
        index = bisect_right(self._offsets, offset)
        if index:
            before = self._offsets[index - 1]
            offset = max(offset, before + len(self._early[before]))
        while offset < end:
            following = self._offsets[index] if index < len(self._offsets) else end
            if offset < following:
                index = self._insert(index, offset, piece[offset - base : min(end, following) - base])
            if index == len(self._offsets):
                return
            offset = max(offset, self._offsets[index] + len(self._early[self._offsets[index]]))
            index += 1

    def _insert(self, index: int, offset: int, part: Buffer) -> int:
        """Where the next piece goes. Raises ``ProtocolError`` for a peer that leaves gaps everywhere."""
        before = self._offsets[index - 1] if index else 0
        kept = self._early.get(before, b"")
        if index and before + len(kept) == offset and len(kept) + len(part) <= MAX_DATA_BYTES:
            self._early[before] += part
            return index
        if len(self._offsets) >= _MAX_EARLY_PIECES:
            raise ProtocolError("too many gaps between the pieces of a stream")
        self._early[offset] = bytearray(part)
        self._offsets.insert(index, offset)
        return index + 1
