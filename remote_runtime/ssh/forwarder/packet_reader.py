"""Reads SSH packets from a socket and decrypts them, without copying their data."""

from __future__ import annotations

import socket
import struct

from .aes_gcm import BLOCK_BYTES, LENGTH_BYTES, MAX_PACKET_BYTES, OVERHEAD_BYTES, BadPacket, Decryptor, mmap_buffer

_CIPHERTEXT_BYTES = 320 << 10  # more than the largest packet; a keystroke may wait until so much was processed
_PLAINTEXT_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")
_FULL_BYTES = _PLAINTEXT_BYTES - MAX_PACKET_BYTES


class PacketReader:
    """``received_bytes``: read from the socket since the last ``rekey``."""

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
        """Read once; nothing to read is no error. Raises ``EOFError``, ``OSError``."""
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
        """The payload of the next packet, valid until ``release``. None if no packet is complete, or ``is_full``.
        Raises ``BadPacket``."""
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
        """Whether ``release`` must be called before ``next_payload``."""
        return self._plaintext_used > _FULL_BYTES

    def release(self) -> None:
        """The views that ``next_payload`` returned are no longer used."""
        self._plaintext_used = 0
