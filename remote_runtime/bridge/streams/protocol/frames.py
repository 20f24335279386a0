"""Frames on a carrier, after its handshake.

    kind u8 | flags u8 | spare u16 | stream u32 | offset u64 | length u32 | payload      a head of 20 bytes, big-endian

DATA     payload: the bytes from ``offset`` of ``stream``. The first frame of an unused number opens the stream. FIN:
         they are the last ones; RST with FIN: a TCP reset follows them. The end counts as one byte, so that it is
         acknowledged and sent again like any other. BLOCKED: the sender may send no more before the next ACK.
ACK      all bytes before ``offset`` were written to the local connection; payload: u64, the offset that the peer may
         send up to.
RESET    the stream is closed; payload: the reason, UTF-8. It is not sent again: the next SUMMARY has the same effect.
SUMMARY  payload: u32, u64, u64 for each open stream: number, and both offsets as in an ACK.
LOST     ``stream`` is the number of a carrier that the sender has given up. It is answered with a SUMMARY.
PING, PONG   ``offset`` is returned unchanged.
HELLO, WELCOME, REFUSED   the first frames of a carrier, see ``handshake``.
"""

from __future__ import annotations

import struct
from typing import Callable, Optional, Tuple, Union

HEAD = struct.Struct("!BBHIQI")
SUMMARY_ENTRY = struct.Struct("!IQQ")
LIMIT = struct.Struct("!Q")

DATA, ACK, RESET, SUMMARY, LOST, PING, PONG, HELLO, WELCOME, REFUSED = range(1, 11)
FIN, RST, BLOCKED = 1, 2, 4

MAX_DATA_BYTES = 1 << 20
MAX_OTHER_BYTES = 1 << 18  # a SUMMARY of 13,000 streams
Buffer = Union[bytes, bytearray, memoryview]


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow; the carrier must be closed."""


def frame(kind: int, stream: int = 0, offset: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """The bytes of one frame."""
    return HEAD.pack(kind, flags, 0, stream, offset, len(payload)) + payload


class FrameParser:
    """Splits the bytes of a carrier. ``on_data(stream, offset, piece, flags)`` gets the pieces of a DATA payload as
    they arrive, uncopied and valid during the call only, the flags with the last one. ``on_frame(kind, stream, offset,
    payload)`` gets each other frame when it is complete."""

    def __init__(
        self, on_data: Callable[[int, int, Buffer, int], None], on_frame: Callable[[int, int, int, bytes], None]
    ) -> None:
        self._on_data = on_data
        self._on_frame = on_frame
        self._partial_head = b""
        self._missing = 0  # payload bytes of the current frame
        self._data: Optional[Tuple[int, int, int]] = None
        self._other: Tuple[int, int, int] = (0, 0, 0)
        self._payload = bytearray()

    def feed(self, view: memoryview) -> None:
        """Raises ``ProtocolError``."""
        position, size = 0, len(view)
        while position < size:
            if self._missing:
                piece = view[position : position + self._missing] if position or size > self._missing else view
                position += len(piece)
                self._missing -= len(piece)
                self._take(piece)
                continue
            if self._partial_head or size - position < HEAD.size:
                head = self._partial_head + bytes(view[position : position + HEAD.size - len(self._partial_head)])
                position += len(head) - len(self._partial_head)
                self._partial_head = head if len(head) < HEAD.size else b""
                if self._partial_head:
                    return
                self._begin(*HEAD.unpack(head))
            else:
                fields = HEAD.unpack_from(view, position)
                position += HEAD.size
                self._begin(*fields)

    def _begin(self, kind: int, flags: int, spare: int, stream: int, offset: int, length: int) -> None:
        if not DATA <= kind <= REFUSED:
            raise ProtocolError(f"a frame of the unknown kind {kind}")
        if length > (MAX_DATA_BYTES if kind == DATA else MAX_OTHER_BYTES):
            raise ProtocolError(f"a frame of kind {kind} with {length} bytes")
        self._missing = length
        if kind == DATA:
            self._data = (stream, offset, flags)
            if not length:
                self._on_data(stream, offset, b"", flags)
        else:
            self._data, self._other = None, (kind, stream, offset)
            self._payload = bytearray()
            if not length:
                self._on_frame(kind, stream, offset, b"")

    def _take(self, piece: memoryview) -> None:
        if self._data is None:
            self._payload += piece
            if not self._missing:
                payload, self._payload = bytes(self._payload), bytearray()
                self._on_frame(*self._other, payload)
            return
        stream, offset, flags = self._data
        self._data = (stream, offset + len(piece), flags)
        self._on_data(stream, offset, piece, 0 if self._missing else flags)
