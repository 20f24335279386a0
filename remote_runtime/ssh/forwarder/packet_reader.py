"""What arrives: bytes of the socket, cut into packets and opened, without a copy of the data in them."""

from __future__ import annotations

import socket
import struct

from .aes_gcm import AROUND_BYTES, BLOCK_BYTES, LARGEST_PACKET, LENGTH_BYTES, BadPacket, Opener
from .memory import untouched

_RAW_BYTES = 320 << 10  # more than the largest packet; what one turn takes is what a keystroke waits for
_PLAIN_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")
_FULL_BYTES = _PLAIN_BYTES - LARGEST_PACKET


class Inbox:
    """``opener`` is replaced when keys are renewed. ``taken_bytes``: read since then."""

    def __init__(self, opener: Opener) -> None:
        self.opener = opener
        self.taken_bytes = 0
        self._raw = untouched(_RAW_BYTES)
        self._start = self._end = 0
        self._plain = untouched(_PLAIN_BYTES)
        self._used = 0

    def renew(self, opener: Opener) -> None:
        self.opener = opener
        self.taken_bytes = 0

    def fill(self, sock: socket.socket) -> None:
        """One read. Raises ``EOFError`` at the end, ``OSError``; nothing to read is no error."""
        if self._start:
            rest = self._end - self._start
            if rest:
                self._raw[:rest] = bytes(self._raw[self._start : self._end])
            self._start, self._end = 0, rest
        try:
            count = sock.recv_into(self._raw[self._end :])
        except (BlockingIOError, InterruptedError):
            return
        if count == 0:
            raise EOFError
        self._end += count
        self.taken_bytes += count

    def next(self) -> memoryview | None:
        """The payload of the next packet, None when none is complete, or there is no place. It holds until ``forget``.

        Raises ``BadPacket``.
        """
        start, used = self._start, self._used
        if self._end - start < LENGTH_BYTES or used > _FULL_BYTES:
            return None
        (size,) = _LENGTH.unpack_from(self._raw, start)
        if size < BLOCK_BYTES or size > LARGEST_PACKET or size % BLOCK_BYTES:
            raise BadPacket(f"a packet claims to have {size} bytes")
        end = start + size + AROUND_BYTES
        if end > self._end:
            return None
        self._start, self._used = end, used + size
        return self.opener.open(self._raw[start + LENGTH_BYTES : end], self._plain[used : used + size], size)

    def full(self) -> bool:
        """Whether ``forget`` is due before ``next``."""
        return self._used > _FULL_BYTES

    def forget(self) -> None:
        """The views that ``next`` gave are used up."""
        self._used = 0
