"""What arrives: bytes of the socket, cut into packets and opened, without a copy of the data in them."""

from __future__ import annotations

import socket
import struct

from .aes_gcm import BLOCK_BYTES, LENGTH_BYTES, MAX_PACKET_BYTES, OVERHEAD_BYTES, BadPacket, Decryptor
from .memory import mmap_buffer

_CIPHERTEXT_BYTES = 320 << 10  # more than the largest packet; what one turn takes is what a keystroke waits for
_PLAINTEXT_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")
_FULL_BYTES = _PLAINTEXT_BYTES - MAX_PACKET_BYTES


class PacketReader:
    """``opener`` is replaced when keys are renewed. ``taken_bytes``: read since then."""

    def __init__(self, decryptor: Decryptor) -> None:
        self.decryptor = decryptor
        self.received_bytes = 0
        self._ciphertext = mmap_buffer(_CIPHERTEXT_BYTES)
        self._start = self._end = 0
        self._plaintext = mmap_buffer(_PLAINTEXT_BYTES)
        self._plaintext_used = 0

    def rekey(self, decryptor: Decryptor) -> None:
        self.decryptor = decryptor
        self.received_bytes = 0

    def read_from(self, sock: socket.socket) -> None:
        """One read. Raises ``EOFError`` at the end, ``OSError``; nothing to read is no error."""
        if self._start:
            rest = self._end - self._start
            if rest:
                self._ciphertext[:rest] = bytes(self._ciphertext[self._start : self._end])
            self._start, self._end = 0, rest
        try:
            count = sock.recv_into(self._ciphertext[self._end :])
        except (BlockingIOError, InterruptedError):
            return
        if count == 0:
            raise EOFError
        self._end += count
        self.received_bytes += count

    def next_payload(self) -> memoryview | None:
        """The payload of the next packet, None when none is complete, or there is no place. It holds until ``forget``.

        Raises ``BadPacket``.
        """
        start, used = self._start, self._plaintext_used
        if self._end - start < LENGTH_BYTES or used > _FULL_BYTES:
            return None
        (size,) = _LENGTH.unpack_from(self._ciphertext, start)
        if size < BLOCK_BYTES or size > MAX_PACKET_BYTES or size % BLOCK_BYTES:
            raise BadPacket(f"a packet claims to have {size} bytes")
        end = start + size + OVERHEAD_BYTES
        if end > self._end:
            return None
        self._start, self._plaintext_used = end, used + size
        return self.decryptor.decrypt(
            self._ciphertext[start + LENGTH_BYTES : end], self._plaintext[used : used + size], size
        )

    def is_full(self) -> bool:
        """Whether ``forget`` is due before ``next``."""
        return self._plaintext_used > _FULL_BYTES

    def release(self) -> None:
        """The views that ``next`` gave are used up."""
        self._plaintext_used = 0
