"""The relay's messages (protocol v4): one in each binary WebSocket message, big-endian, with a tag of two bytes.

Read from gcloud 528; the relay of ``demo`` speaks the same and was checked against that client.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SUBPROTOCOL = "relay.tunnel.cloudproxy.app"
ORIGIN = "bot:iap-tunneler"
MAX_ARRAY_BYTES = 16384

_CONNECTED, _RESUMED, _DATA, _ACKNOWLEDGED, _ENDED = 1, 2, 4, 7, 10
_TAG = struct.Struct(">H")
_ARRAY = struct.Struct(">HI")
_COUNT = struct.Struct(">HQ")
_END = struct.Struct(">HII")


class Malformed(Exception):
    """Not a message of this protocol, or one that is not allowed now."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message of a new session: ``sid`` is its id, to resume it."""

    sid: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The first message of a resumed session: the relay has the first ``received`` bytes."""

    received: int


@dataclass(frozen=True, slots=True)
class Data:
    content: memoryview


@dataclass(frozen=True, slots=True)
class Ack:
    """``received``: bytes since the session began."""

    received: int


@dataclass(frozen=True, slots=True)
class CloseMessage:
    """The same as a WebSocket close frame, with a longer reason."""

    code: int
    reason: str


Message = Connected | Resumed | Data | Ack | CloseMessage


def parse(message: bytes | bytearray | memoryview) -> Message | None:
    """None for an unknown tag: such messages are ignored. Raises ``Malformed``."""
    try:
        (tag,) = _TAG.unpack_from(message)
        if tag == _DATA:
            return Data(_array(message, _TAG.size))
        if tag == _ACKNOWLEDGED:
            return Ack(_COUNT.unpack_from(message)[1])
        if tag == _RESUMED:
            return Resumed(_COUNT.unpack_from(message)[1])
        if tag == _CONNECTED:
            return Connected(str(_array(message, _TAG.size), "ascii"))
        if tag == _ENDED:
            code = _END.unpack_from(message)[1]
            return CloseMessage(code, str(_array(message, _TAG.size + 4), "utf-8", "replace"))
    except (struct.error, UnicodeDecodeError) as error:
        raise Malformed(f"a message of {len(message)} bytes that means nothing") from error
    return None


def encode_data(content: bytes | memoryview) -> bytes:
    """``content``: at most ``MAX_ARRAY_BYTES``."""
    return b"".join((_ARRAY.pack(_DATA, len(content)), content))


def encode_ack(received: int) -> bytes:
    return _COUNT.pack(_ACKNOWLEDGED, received)


def _array(message: bytes | bytearray | memoryview, at: int) -> memoryview:
    (size,) = struct.unpack_from(">I", message, at)
    if size > MAX_ARRAY_BYTES:
        raise Malformed(f"an array of {size} bytes, {MAX_ARRAY_BYTES} are allowed")
    content = memoryview(message)[at + 4 : at + 4 + size]
    if len(content) < size:
        raise Malformed(f"an array of {size} bytes of which {len(content)} came")
    return content
