"""Encodes and decodes channel messages (RFC 4254, 5; OpenSSH's PROTOCOL)."""

from __future__ import annotations

import struct

from .aes_gcm import BadPacket

OPEN_CONFIRMATION = 91
OPEN_FAILURE = 92
WINDOW_ADJUST = 93
DATA = 94
EXTENDED_DATA = 95
EOF = 96
CLOSE = 97
REQUEST = 98
REQUEST_SUCCESS = 99
REQUEST_FAILURE = 100

FIRST_CHANNEL = 0x1000000  # paramiko numbers its own channels below
_PROBE = b"keepalive@openssh.com"
_U32 = struct.Struct(">I")
_KIND_CHANNEL = struct.Struct(">BI")
_ADJUST = struct.Struct(">BII")
_NUMBERS = struct.Struct(">III")


def channel_open(number: int, window: int, max_packet: int, host: str, port: int) -> bytes:
    """SSH_MSG_CHANNEL_OPEN of a ``direct-tcpip``; with port 0 of a ``direct-streamlocal@openssh.com`` to the unix
    socket whose path is ``host`` (OpenSSH's PROTOCOL, 2.4)."""
    numbers, target = _NUMBERS.pack(number, window, max_packet), _string(host.encode())
    if port == 0:
        return b"\x5a" + _string(b"direct-streamlocal@openssh.com") + numbers + target + bytes(8)
    origin = _string(b"127.0.0.1") + bytes(4)
    return b"\x5a" + _string(b"direct-tcpip") + numbers + target + _U32.pack(port) + origin


def window_adjust(channel: int, more: int) -> bytes:
    return _ADJUST.pack(WINDOW_ADJUST, channel, more)


def data(channel: int, content: bytes) -> bytes:
    return _ADJUST.pack(DATA, channel, len(content)) + content


def eof(channel: int) -> bytes:
    return _KIND_CHANNEL.pack(EOF, channel)


def close(channel: int) -> bytes:
    return _KIND_CHANNEL.pack(CLOSE, channel)


def request_failure(channel: int) -> bytes:
    return _KIND_CHANNEL.pack(REQUEST_FAILURE, channel)


def probe(channel: int) -> bytes:
    """A channel request that every server refuses, to measure the round trip."""
    return _KIND_CHANNEL.pack(REQUEST, channel) + _string(_PROBE) + b"\x01"


def uint32(message: memoryview, at: int) -> int:
    """Raises ``BadPacket``."""
    try:
        value: int = _U32.unpack_from(message, at)[0]
    except struct.error:
        raise BadPacket(f"message {message[0]} is cut short") from None
    return value


def parse_confirmation(message: memoryview) -> tuple[int, int, int]:
    """Of an OPEN_CONFIRMATION: the peer's channel number, window and maximum packet. Raises ``BadPacket``."""
    try:
        return _NUMBERS.unpack_from(message, 5)
    except struct.error:
        raise BadPacket(f"message {message[0]} is cut short") from None


def string(message: memoryview, at: int) -> memoryview:
    """Raises ``BadPacket``."""
    size = uint32(message, at)
    if at + 4 + size > len(message):
        raise BadPacket(f"message {message[0]} is cut short")
    return message[at + 4 : at + 4 + size]


def content(message: memoryview) -> memoryview:
    """The data of a DATA message. Raises ``BadPacket`` if its length is wrong."""
    if uint32(message, 5) + 9 != len(message):
        raise BadPacket("a data message is not as long as its data")
    return message[9:]


def window_bytes(message: memoryview) -> int:
    """How much of the window a DATA or EXTENDED_DATA message uses."""
    return max(0, len(message) - (9 if message[0] == DATA else 13))


def wants_reply(message: memoryview) -> bool:
    """Whether a channel request wants a reply. Raises ``BadPacket``."""
    at = 9 + len(string(message, 5))
    if at >= len(message):
        raise BadPacket(f"message {message[0]} is cut short")
    return bool(message[at])


def _string(value: bytes) -> bytes:
    return _U32.pack(len(value)) + value
