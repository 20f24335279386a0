"""What leaves: packets sealed into one buffer, in the order in which they are put, by any thread."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Iterable

from .aes_gcm import AROUND_BYTES, BLOCK_BYTES, Sealer, padding_for
from .memory import untouched

PIECE_BYTES = 32 << 10
SLOTS = 8
HEAD_BYTES = 10  # padding length, SSH_MSG_CHANNEL_DATA, channel, data length
_TAIL_BYTES = BLOCK_BYTES + 4
STRIDE_BYTES = HEAD_BYTES + PIECE_BYTES + _TAIL_BYTES
_FIRST_BYTES = 512 << 10
_MOST_BYTES = 16 << 20
_DATA_HEAD = struct.Struct(">BBII")


class Overflow(Exception):
    """The peer takes nothing and makes us say ever more."""


class Outbox:
    """``queued``: bytes that the socket has not taken yet. ``sent_bytes``: since the keys were renewed."""

    def __init__(self, sealer: Sealer) -> None:
        self.lock = threading.RLock()
        self.queued = 0
        self.sent_bytes = 0
        self._sealer = sealer
        paddings = [padding_for(payload_bytes) for payload_bytes in range(BLOCK_BYTES)]
        # The padding is encrypted anew each time, so no new bytes are needed.
        self._around = [(bytes((padding,)), os.urandom(padding)) for padding in paddings]
        self._size = _FIRST_BYTES
        self._buffer = untouched(self._size)
        self._start = self._end = 0

    def renew(self, sealer: Sealer) -> None:
        """What is put from now on is sealed with it."""
        with self.lock:
            self._sealer = sealer
            self.sent_bytes = 0

    def put(self, payloads: Iterable[bytes]) -> None:
        """Raises ``Overflow``."""
        with self.lock:
            for payload in payloads:
                padding_length, padding = self._around[len(payload) % BLOCK_BYTES]
                plain = padding_length + payload + padding
                self._seal(plain, len(plain))

    def put_data(self, channel: int, slots: memoryview, count: int) -> None:
        """``count`` bytes for the peer's ``channel``, read into ``slots`` (see ``slots_of``). Raises ``Overflow``."""
        at = 0
        with self.lock:
            while count > 0:
                piece = count if count < PIECE_BYTES else PIECE_BYTES
                padding = padding_for(piece + HEAD_BYTES - 1)
                _DATA_HEAD.pack_into(slots, at, padding, 94, channel, piece)
                size = HEAD_BYTES + piece + padding
                self._seal(slots[at : at + size], size)
                at += STRIDE_BYTES
                count -= piece

    def flush(self, sock: socket.socket) -> bool:
        """Whether the socket took any of it. Raises ``OSError``."""
        with self.lock:
            before = self.queued
            while self.queued:
                try:
                    sent = sock.send(self._buffer[self._start : self._end])
                except (BlockingIOError, InterruptedError):
                    break
                self._start += sent
                self.queued -= sent
                self.sent_bytes += sent
            if not self.queued:
                self._start = self._end = 0
            return self.queued < before

    def _seal(self, plain: bytes | memoryview, size: int) -> None:
        total = size + AROUND_BYTES
        if self._end + total > self._size:
            self._make_room(total)
        self._end = self._sealer.seal(plain, size, self._buffer, self._end)
        self.queued += total

    def _make_room(self, total: int) -> None:
        queued = self.queued
        if queued + total > _MOST_BYTES:
            raise Overflow(f"{queued} bytes wait to be taken")
        while self._size < queued + total:
            self._size *= 2
        buffer = untouched(self._size)
        buffer[:queued] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = buffer, 0, queued


class Slots:
    """Where data is read into, so that head and padding of each packet have their place around it."""

    def __init__(self) -> None:
        self.buffer = untouched(SLOTS * STRIDE_BYTES)
        starts = range(HEAD_BYTES, len(self.buffer), STRIDE_BYTES)
        self._slots = [self.buffer[at : at + PIECE_BYTES] for at in starts]

    def read(self, sock: socket.socket, most: int, pieces: int, piece: int) -> int:
        """At most ``most`` bytes, in ``pieces`` pieces; a single one of at most ``piece``. 0: the end of the data.

        Raises ``BlockingIOError``, ``OSError``.
        """
        if pieces == 1 or most <= PIECE_BYTES or sys.platform == "win32":
            return sock.recv_into(self._slots[0], most if most < piece else piece)
        return sock.recvmsg_into(self._slots[: min(pieces, most // PIECE_BYTES)])[0]

    def content(self, count: int) -> bytes:
        """The first ``count`` bytes that were read, of the first piece only."""
        return bytes(self._slots[0][:count])
