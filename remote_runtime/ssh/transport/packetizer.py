"""paramiko's Packetizer: with deadlines for writes, and, once both directions use AES-GCM, on the forwarder's loop."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paramiko
from paramiko.common import MSG_NAMES
from paramiko.packet import NeedRekeyException, Packetizer

from ...core.deadline import Deadline
from ..forwarder import aes_gcm
from ..forwarder.aes_gcm import BadPacket, Decryptor, Encryptor
from ..forwarder.loop import Loop
from ..forwarder.packet_reader import PacketReader
from ..forwarder.packet_writer import Overflow, PacketWriter

_DEFAULT_WRITE_TIMEOUT_S = 30.0
_TICK_S = 0.1
_MAX_BYTES_DURING_REKEY = 1 << 30
_MAX_QUEUED_BYTES = _MAX_UNSENT_BYTES = 256 << 10
_UNIMPLEMENTED, _KEY_EXCHANGE, _NEW_KEYS = 3, 20, 21
_TCP_NOTSENT_LOWAT = {"linux": 25, "darwin": 0x201}


class WriteDeadline:
    """How long a write of the current thread may block: until its deadline, else ``_DEFAULT_WRITE_TIMEOUT_S``."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def until(self, deadline: Deadline) -> Iterator[None]:
        before = getattr(self._local, "deadline", None)
        self._local.deadline = deadline
        try:
            yield
        finally:
            self._local.deadline = before

    def deadline(self) -> Deadline:
        current: Deadline | None = getattr(self._local, "deadline", None)
        return current or Deadline(_DEFAULT_WRITE_TIMEOUT_S)


class BoundedPacketizer(Packetizer):
    """``last_received_at``: when the last whole packet came (monotonic clock). ``on_write_stall`` is called when a
    write blocks until its deadline: half a packet may have been sent, so the connection cannot be used any more."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.last_received_at = time.monotonic()
        self.write_deadline = WriteDeadline()
        self.on_write_stall: Callable[[], None] = self.close
        self._sock = sock
        self._has_ended = False
        self._on_ended: Callable[[], None] = lambda: None

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self.last_received_at

    def notify_ended(self, call: Callable[[], None]) -> None:
        """Call it after the last ``read_message``, at once if that is over; it may be called twice."""
        self._on_ended = call
        if self._has_ended:
            call()

    def end(self) -> None:
        """To be called after the last ``read_message``, in its thread."""
        self._has_ended = True
        self._on_ended()

    def write_all(self, out: Any) -> None:
        deadline = None
        while out:
            try:
                sent = self._sock.send(out)
            except TimeoutError:
                if self.closed:
                    raise EOFError from None
                deadline = deadline or self.write_deadline.deadline()
                if deadline.passed() or deadline.cancelled.is_set():
                    self.on_write_stall()
                    raise EOFError from None
                continue
            except OSError as error:
                if bytes(out[:4]) == b"SSH-":
                    return  # this end's version: a server that has closed already may have sent why, which is read next
                raise EOFError from error
            if sent <= 0:
                raise EOFError
            out = out[sent:]

    def read_message(self) -> tuple[int, paramiko.Message]:
        answer = super().read_message()
        self.last_received_at = time.monotonic()
        return answer


class FastPacketizer(BoundedPacketizer):
    """``clear_to_send`` is the transport's, which also calls ``set_ciphers``. ``loop`` owns the socket once both
    directions use AES-GCM; it stays None, and the packet layer paramiko's, if the server does not offer that."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.clear_to_send = threading.Event()
        self.loop: Loop | None = None
        self._uses_gcm: bool | None = None
        self._writer: PacketWriter | None = None
        self._reader: PacketReader | None = None
        self._thread = 0
        self._received_count = 0
        self._server_is_rekeying = False

    def set_ciphers(self, ciphers: tuple[str, str]) -> None:
        """The ciphers of both directions, before paramiko uses them. Raises ``paramiko.SSHException``."""
        fast = all(cipher in aes_gcm.CIPHERS for cipher in ciphers)
        if self._uses_gcm and not fast:
            raise paramiko.SSHException("the server wants another kind of cipher in the middle of the connection")
        if self._uses_gcm is None:
            self._uses_gcm = fast

    # ── what paramiko calls

    def set_outbound_cipher(self, block_engine: Any, *others: Any, **more: Any) -> None:
        super().set_outbound_cipher(block_engine, *others, **more)
        if not self._uses_gcm:
            return
        encryptor = Encryptor(block_engine, more["iv_out"])
        if self._writer is None:
            self._writer = PacketWriter(encryptor)
        else:
            self._writer.rekey(encryptor)

    def set_inbound_cipher(self, block_engine: Any, *others: Any, **more: Any) -> None:
        super().set_inbound_cipher(block_engine, *others, **more)
        if not self._uses_gcm or self._writer is None:
            return
        decryptor = Decryptor(block_engine, more["iv_in"])
        if self._reader is None:
            self._start(decryptor, self._writer)
        else:
            self._reader.rekey(decryptor)

    def send_message(self, data: paramiko.Message) -> None:
        if self._writer is None:
            super().send_message(data)
            return
        try:
            self._writer.write([data.asbytes()])
        except Overflow as error:
            raise paramiko.SSHException(f"the link takes no more data: {error}") from error
        if threading.get_ident() != self._thread:  # the loop flushes by itself
            self._flush(self._writer)

    def read_message(self) -> tuple[int, paramiko.Message]:
        if self.loop is None or self._reader is None or self._writer is None:
            return super().read_message()
        try:
            while True:
                message = self._next_message(self.loop, self._reader)
                if message is not None:
                    return message
                self._wait_for_data(self.loop, self._reader, self._writer)
        except (BadPacket, Overflow) as error:
            raise paramiko.SSHException(str(error)) from error

    def end(self) -> None:
        if self.loop is not None:
            self.loop.close()
        super().end()

    # ── inside

    def _start(self, decryptor: Decryptor, writer: PacketWriter) -> None:
        sock = self._sock
        sock.setblocking(False)
        _limit_send_queue(sock)
        self._thread = threading.get_ident()
        self._reader = PacketReader(decryptor)
        self.loop = Loop(sock, self._reader, writer, self.clear_to_send)

    def _wait_for_data(self, loop: Loop, reader: PacketReader, writer: PacketWriter) -> None:
        """Returns when the SSH connection has received something."""
        received = False
        while not received:
            if self.closed or self.handshake_timed_out():
                raise EOFError
            self._check_keys(reader, writer)
            received = loop.run_once()
        self.last_received_at = loop.last_received_at

    def _next_message(self, loop: Loop, reader: PacketReader) -> tuple[int, paramiko.Message] | None:
        """The next message for paramiko; None when no whole packet is left."""
        message = None
        while message is None:
            payload = reader.next_payload()
            if payload is None:
                break
            self._received_count += 1
            if not loop.receive(payload):
                if payload[0] in MSG_NAMES:
                    message = self._to_paramiko(payload)
                else:
                    self._answer_unimplemented()
            elif self._server_is_rekeying:
                raise BadPacket("a message of a channel in the middle of a key exchange")
        full = reader.is_full()
        loop.flush()
        reader.release()
        return self._next_message(loop, reader) if full and message is None else message

    def _to_paramiko(self, payload: memoryview) -> tuple[int, paramiko.Message]:
        kind = payload[0]
        if kind in (_KEY_EXCHANGE, _NEW_KEYS):
            self._server_is_rekeying = kind == _KEY_EXCHANGE
        message = paramiko.Message(bytes(payload[1:]))
        message.seqno = (self._received_count - 1) & 0xFFFFFFFF  # for paramiko's own UNIMPLEMENTED
        return kind, message

    def _answer_unimplemented(self) -> None:
        """RFC 4253 11.4."""
        if self._writer is not None and not self._server_is_rekeying:
            self._writer.write([struct.pack(">BI", _UNIMPLEMENTED, (self._received_count - 1) & 0xFFFFFFFF)])

    def _check_keys(self, reader: PacketReader, writer: PacketWriter) -> None:
        max_bytes = Packetizer.REKEY_BYTES << 5  # 16 GiB; RFC 4344 allows 64 for blocks of 16 bytes
        if not self.need_rekey():
            if reader.received_bytes < max_bytes and writer.sent_bytes < max_bytes:
                return
            self._trigger_rekey()  # type: ignore[attr-defined]  # paramiko's types leave it out
        if reader.received_bytes > max_bytes + _MAX_BYTES_DURING_REKEY:
            raise BadPacket("the server does not renew the keys")
        if self.clear_to_send.is_set():
            raise NeedRekeyException

    def _flush(self, writer: PacketWriter) -> None:
        """Writes what the socket takes. The loop writes the rest, but a caller waits while much is queued."""
        deadline = None
        while True:
            try:
                writer.flush(self._sock)
            except OSError as error:
                raise EOFError from error
            if writer.queued_bytes < (_MAX_QUEUED_BYTES if self.loop else 1):
                break
            deadline = deadline or self.write_deadline.deadline()
            if self.closed or deadline.passed() or deadline.cancelled.is_set():
                self.on_write_stall()
                raise EOFError
            _wait_writable(self._sock)
        if writer.queued_bytes and self.loop is not None:
            self.loop.wake()


def _wait_writable(sock: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(sock, selectors.EVENT_WRITE)
        except (ValueError, OSError) as error:  # closed meanwhile
            raise EOFError from error
        selector.select(_TICK_S)


def _limit_send_queue(sock: socket.socket) -> None:
    """Sets TCP_NOTSENT_LOWAT: a keystroke waits behind all that the kernel has queued."""
    option = _TCP_NOTSENT_LOWAT.get(sys.platform)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if option is not None:
            with contextlib.suppress(OSError):  # a kernel without it queues more
                sock.setsockopt(socket.IPPROTO_TCP, option, _MAX_UNSENT_BYTES)
