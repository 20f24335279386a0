"""AES-GCM as OpenSSH uses it (RFC 5647, aes128-gcm@openssh.com): the length is authenticated, not encrypted."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Any

from cryptography.exceptions import InvalidTag

TAG_BYTES = 16
LENGTH_BYTES = 4
BLOCK_BYTES = 16
OVERHEAD_BYTES = LENGTH_BYTES + TAG_BYTES  # of a packet, beside padding length, payload and padding
MAX_PACKET_BYTES = 256 << 10  # OpenSSH's own limit, PACKET_MAX_SIZE
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_U32 = struct.Struct(">I")


class BadPacket(Exception):
    """The peer violates the protocol; the SSH connection must be closed."""


def nonces(first: bytes) -> Iterator[bytes]:
    """Four fixed bytes and an eight-byte counter of packets (RFC 5647 7.1)."""
    fixed, counter = first[:4], int.from_bytes(first[4:], "big")
    while True:
        yield fixed + counter.to_bytes(8, "big")
        counter = (counter + 1) % (1 << 64)


def padding_for(payload_bytes: int) -> int:
    """At least 4 bytes, so that padding length, payload and padding fill whole blocks (RFC 4253 6)."""
    return BLOCK_BYTES + 3 - (payload_bytes + 4) % BLOCK_BYTES


class Encryptor:
    """Outbound. ``cipher``: cryptography's AESGCM."""

    def __init__(self, cipher: Any, first_nonce: bytes) -> None:
        self._cipher = cipher
        self._encrypt_into = getattr(cipher, "encrypt_into", self._encrypt_copy)  # cryptography ≥ 47
        self._nonces = nonces(first_nonce)

    def encrypt(self, plain: Any, size: int, buffer: memoryview, at: int) -> int:
        """Write a packet into ``buffer`` at offset ``at``; where it ends. ``plain``: padding length, payload, padding,
        ``size`` bytes."""
        length = _U32.pack(size)
        start = at + LENGTH_BYTES
        end = start + size + TAG_BYTES
        buffer[at:start] = length
        self._encrypt_into(next(self._nonces), plain, length, buffer[start:end])
        return end

    def _encrypt_copy(self, nonce: bytes, plain: Any, length: bytes, out: memoryview) -> None:
        out[:] = self._cipher.encrypt(nonce, plain, length)


class Decryptor:
    """Inbound."""

    def __init__(self, cipher: Any, first_nonce: bytes) -> None:
        self._cipher = cipher
        self._decrypt_into = getattr(cipher, "decrypt_into", self._decrypt_copy)  # cryptography ≥ 47
        self._nonces = nonces(first_nonce)

    def decrypt(self, ciphertext: memoryview, plain: memoryview, size: int) -> memoryview:
        """The payload, as a view of ``plain``, which has ``size`` bytes. ``ciphertext``: a packet without its length.
        Raises ``BadPacket``."""
        try:
            self._decrypt_into(next(self._nonces), ciphertext, _U32.pack(size), plain)
        except InvalidTag as error:
            raise BadPacket("a packet was changed on its way") from error
        padding = plain[0]
        if padding < 4 or padding + 2 > size:
            raise BadPacket(f"a packet of {size} bytes claims {padding} bytes of padding")
        return plain[1 : size - padding]

    def _decrypt_copy(self, nonce: bytes, ciphertext: memoryview, length: bytes, out: memoryview) -> None:
        out[:] = self._cipher.decrypt(nonce, ciphertext, length)


def mmap_buffer(size: int) -> memoryview:
    """``size`` zero bytes that use memory only once they are written, page by page; a ``bytearray`` writes them all."""
    return memoryview(mmap.mmap(-1, size))
