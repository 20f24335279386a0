"""AES-GCM as OpenSSH uses it (RFC 5647, aes128-gcm@openssh.com): the length is authenticated and not hidden."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from cryptography.exceptions import InvalidTag

TAG_BYTES = 16
LENGTH_BYTES = 4
BLOCK_BYTES = 16
LARGEST_PACKET = 256 << 10  # OpenSSH's own limit, PACKET_MAX_SIZE
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


class BadPacket(Exception):
    """What arrived is not a packet of the peer's; the connection cannot go on."""


def nonces(first: bytes) -> Iterator[bytes]:
    """Four fixed bytes and a counter of eight, one step for each packet (RFC 5647 7.1)."""
    fixed, (count,) = first[:4], _U64.unpack(first[4:])
    while True:
        yield fixed + _U64.pack(count)
        count = (count + 1) & 0xFFFFFFFFFFFFFFFF


def padding_for(payload_bytes: int) -> int:
    """At least 4, so that padding length, payload and padding fill whole blocks (RFC 4253 6)."""
    return BLOCK_BYTES + 3 - (payload_bytes + 4) % BLOCK_BYTES


class Sealer:
    """Outbound. ``cipher``: cryptography's AESGCM."""

    __slots__ = ("_cipher", "_into", "_nonces")

    def __init__(self, cipher: Any, first_nonce: bytes) -> None:
        self._cipher = cipher
        self._into = getattr(cipher, "encrypt_into", None)  # cryptography ≥ 47
        self._nonces = nonces(first_nonce)

    def seal(self, plain: Any, out: memoryview) -> int:
        """``plain``: padding length, payload, padding. Writes the packet to the start of ``out``; its length."""
        size = len(plain)
        length = _U32.pack(size)
        end = LENGTH_BYTES + size + TAG_BYTES
        out[:LENGTH_BYTES] = length
        if self._into is not None:
            self._into(next(self._nonces), plain, length, out[LENGTH_BYTES:end])
        else:
            out[LENGTH_BYTES:end] = self._cipher.encrypt(next(self._nonces), plain, length)
        return end


class Opener:
    """Inbound."""

    __slots__ = ("_cipher", "_into", "_nonces")

    def __init__(self, cipher: Any, first_nonce: bytes) -> None:
        self._cipher = cipher
        self._into = getattr(cipher, "decrypt_into", None)  # cryptography ≥ 47
        self._nonces = nonces(first_nonce)

    def open(self, packet: memoryview, out: memoryview) -> int:
        """Writes padding length, payload and padding to ``out`` (as long as those are); the payload's length.

        Raises ``BadPacket``.
        """
        length = packet[:LENGTH_BYTES]
        try:
            if self._into is not None:
                self._into(next(self._nonces), packet[LENGTH_BYTES:], length, out)
            else:
                out[:] = self._cipher.decrypt(next(self._nonces), packet[LENGTH_BYTES:], length)
        except InvalidTag as error:
            raise BadPacket("a packet was changed on its way") from error
        padding = out[0]
        if padding < 4 or padding + 2 > len(out):
            raise BadPacket(f"a packet of {len(out)} bytes claims {padding} bytes of padding")
        return len(out) - 1 - padding


def packet_bytes(raw: memoryview, at: int) -> int:
    """Of the packet that begins there, its whole length on the wire. Raises ``BadPacket``."""
    size: int = _U32.unpack_from(raw, at)[0]
    if size > LARGEST_PACKET or size < BLOCK_BYTES or size % BLOCK_BYTES:
        raise BadPacket(f"a packet claims to have {size} bytes")
    return LENGTH_BYTES + size + TAG_BYTES
