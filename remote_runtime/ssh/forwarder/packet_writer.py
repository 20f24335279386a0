"""Encrypts SSH packets into one send buffer, in order, for any thread."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Iterable

from .aes_gcm import BLOCK_BYTES, OVERHEAD_BYTES, Encryptor, mmap_buffer, padding_for

MAX_DATA_BYTES = 32 << 10
READ_BUFFERS = 8
HEAD_BYTES = 10  # padding length, SSH_MSG_CHANNEL_DATA, channel, data length
_TAIL_BYTES = BLOCK_BYTES + 4
STRIDE_BYTES = HEAD_BYTES + MAX_DATA_BYTES + _TAIL_BYTES
_INITIAL_BYTES = 512 << 10
_MAX_QUEUED_BYTES = 16 << 20
_DATA_HEAD = struct.Struct(">BBII")


class Overflow(Exception):
    """The send buffer has reached its limit: the peer reads nothing, and keeps sending requests."""


class PacketWriter:
    """``queued_bytes``: that the socket has not accepted yet. ``sent_bytes``: since the last ``rekey``."""

    def __init__(self, encryptor: Encryptor) -> None:
        self.lock = threading.RLock()
        self.queued_bytes = 0
        self.sent_bytes = 0
        self._encryptor = encryptor
        paddings = [padding_for(payload_bytes) for payload_bytes in range(BLOCK_BYTES)]
        # The same padding bytes can be used again: they are encrypted with another nonce each time.
        self._paddings = [(bytes((padding,)), os.urandom(padding)) for padding in paddings]
        self._size = _INITIAL_BYTES
        self._buffer = mmap_buffer(self._size)
        self._start = self._end = 0

    def rekey(self, encryptor: Encryptor) -> None:
        """Use this encryptor from now on."""
        with self.lock:
            self._encryptor = encryptor
            self.sent_bytes = 0

    def write(self, payloads: Iterable[bytes]) -> None:
        """Raises ``Overflow``."""
        with self.lock:
            for payload in payloads:
                padding_length, padding = self._paddings[len(payload) % BLOCK_BYTES]
                plain = padding_length + payload + padding
                self._append(plain, len(plain))

    def write_data(self, channel: int, buffers: memoryview, count: int) -> None:
        """Send the ``count`` bytes in ``buffers`` (see ``ReadBuffers``) to the peer's ``channel``. Raises
        ``Overflow``."""
        at = 0
        with self.lock:
            while count > 0:
                piece = count if count < MAX_DATA_BYTES else MAX_DATA_BYTES
                padding = padding_for(piece + HEAD_BYTES - 1)
                _DATA_HEAD.pack_into(buffers, at, padding, 94, channel, piece)
                size = HEAD_BYTES + piece + padding
                self._append(buffers[at : at + size], size)
                at += STRIDE_BYTES
                count -= piece

    def flush(self, sock: socket.socket) -> bool:
        """Whether the socket accepted any bytes. Raises ``OSError``."""
        with self.lock:
            before = self.queued_bytes
            while self.queued_bytes:
                try:
                    sent = sock.send(self._buffer[self._start : self._end])
                except (BlockingIOError, InterruptedError):
                    break
                self._start += sent
                self.queued_bytes -= sent
                self.sent_bytes += sent
            if not self.queued_bytes:
                self._start = self._end = 0
            return self.queued_bytes < before

    def _append(self, plain: bytes | memoryview, size: int) -> None:
        total = size + OVERHEAD_BYTES
        if self._end + total > self._size:
            self._grow(total)
        self._end = self._encryptor.encrypt(plain, size, self._buffer, self._end)
        self.queued_bytes += total

    def _grow(self, total: int) -> None:
        queued = self.queued_bytes
        if queued + total > _MAX_QUEUED_BYTES:
            raise Overflow(f"{queued} bytes wait to be taken")
        while self._size < queued + total:
            self._size *= 2
        buffer = mmap_buffer(self._size)
        buffer[:queued] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = buffer, 0, queued


class ReadBuffers:
    """Buffers for data read from clients, with space for each packet's header and padding around it."""

    def __init__(self) -> None:
        self.buffer = mmap_buffer(READ_BUFFERS * STRIDE_BYTES)
        starts = range(HEAD_BYTES, len(self.buffer), STRIDE_BYTES)
        self._buffers = [self.buffer[at : at + MAX_DATA_BYTES] for at in starts]

    def read(self, sock: socket.socket, max_bytes: int, buffers: int, max_packet: int) -> int:
        """Read at most ``max_bytes`` into so many ``buffers``, or at most ``max_packet`` into one. 0 at EOF.

        Raises ``BlockingIOError``, ``OSError``.
        """
        if buffers == 1 or max_bytes <= MAX_DATA_BYTES or sys.platform == "win32":
            return sock.recv_into(self._buffers[0], max_bytes if max_bytes < max_packet else max_packet)
        return sock.recvmsg_into(self._buffers[: min(buffers, max_bytes // MAX_DATA_BYTES)])[0]

    def fill(self, buffers: Iterable[bytes | bytearray | memoryview], max_bytes: int, max_packet: int) -> int:
        """Copy at most ``max_bytes`` of ``buffers`` here, at most ``max_packet`` if the peer accepts no larger packets.
        Returns how many were copied."""
        max_bytes = min(max_bytes, READ_BUFFERS * MAX_DATA_BYTES if max_packet == MAX_DATA_BYTES else max_packet)
        count = 0
        for buffer in buffers:
            position, length = 0, min(len(buffer), max_bytes - count)
            while position < length:
                at = count % MAX_DATA_BYTES
                piece = min(length - position, MAX_DATA_BYTES - at)
                self._buffers[count // MAX_DATA_BYTES][at : at + piece] = buffer[position : position + piece]
                position += piece
                count += piece
            if count == max_bytes:
                break
        return count

    def content(self, count: int) -> bytes:
        """The first ``count`` bytes that were read, of the first buffer only."""
        return bytes(self._buffers[0][:count])
