"""paramiko's packet layer, replaced: from the first AES-GCM key on, our loop owns the socket.

This module, ``link``, ``channel`` and ``packets`` of the package above are the only ones that lean on undocumented
attributes of paramiko.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
import threading
from typing import Any

import paramiko
from paramiko.common import MSG_NAMES
from paramiko.packet import NeedRekeyException, Packetizer

from ..forwarder import aes_gcm
from ..forwarder.aes_gcm import BadPacket, Opener, Sealer
from ..forwarder.loop import Gate, Loop
from ..forwarder.packet_reader import Inbox
from ..forwarder.packet_writer import Outbox, Overflow
from .packetizer import BoundedPacketizer

_IGNORED_BYTES = 1 << 30
_QUEUED_BYTES = 256 << 10
_TICK_S = 0.1
_UNIMPLEMENTED, _KEY_EXCHANGE, _NEW_KEYS = 3, 20, 21
_NOT_SENT_BYTES = 256 << 10
_TCP_NOTSENT_LOWAT = {"linux": 25, "darwin": 0x201}


class FastPacketizer(BoundedPacketizer):
    """``gate`` and ``agreed`` are its link's to set. ``loop`` is None before both directions have AES-GCM, and for
    ever if the server does not know it: then this is the packet layer that it inherits from."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.gate: Gate = threading.Event()
        self.loop: Loop | None = None
        self._fast: bool | None = None
        self._outbox: Outbox | None = None
        self._inbox: Inbox | None = None
        self._thread = 0
        self._count = 0
        self._they_renew = False

    def agreed(self, ciphers: tuple[str, str]) -> None:
        """Both directions' ciphers, before they are set. Raises ``paramiko.SSHException``."""
        fast = all(cipher in aes_gcm.CIPHERS for cipher in ciphers)
        if self._fast and not fast:
            raise paramiko.SSHException("the server wants another kind of cipher in the middle of the connection")
        if self._fast is None:
            self._fast = fast

    # ── what paramiko calls

    def set_outbound_cipher(self, block_engine: Any, *others: Any, **more: Any) -> None:
        super().set_outbound_cipher(block_engine, *others, **more)
        if not self._fast:
            return
        sealer = Sealer(block_engine, more["iv_out"])
        if self._outbox is None:
            self._outbox = Outbox(sealer)
        else:
            self._outbox.renew(sealer)

    def set_inbound_cipher(self, block_engine: Any, *others: Any, **more: Any) -> None:
        super().set_inbound_cipher(block_engine, *others, **more)
        if not self._fast or self._outbox is None:
            return
        opener = Opener(block_engine, more["iv_in"])
        if self._inbox is None:
            self._start(opener, self._outbox)
        else:
            self._inbox.renew(opener)

    def send_message(self, data: paramiko.Message) -> None:
        if self._outbox is None:
            super().send_message(data)
            return
        try:
            self._outbox.put([data.asbytes()])
        except Overflow as error:
            raise paramiko.SSHException(f"the link takes no more data: {error}") from error
        if threading.get_ident() != self._thread:  # the loop flushes by itself
            self._flush(self._outbox)

    def read_message(self) -> tuple[int, paramiko.Message]:
        if self.loop is None or self._inbox is None or self._outbox is None:
            return super().read_message()
        try:
            while True:
                message = self._next(self.loop, self._inbox)
                if message is not None:
                    return message
                self._wait(self.loop, self._inbox, self._outbox)
        except (BadPacket, Overflow) as error:
            raise paramiko.SSHException(str(error)) from error

    def end(self) -> None:
        """After the last ``read_message``, in its thread."""
        if self.loop is not None:
            self.loop.end()

    # ── inside

    def _start(self, opener: Opener, outbox: Outbox) -> None:
        sock = self._sock
        sock.setblocking(False)
        _never_queue_much(sock)
        self._thread = threading.get_ident()
        self._inbox = Inbox(opener)
        self.loop = Loop(sock, self._inbox, outbox, self.gate)

    def _wait(self, loop: Loop, inbox: Inbox, outbox: Outbox) -> None:
        """Until something came from the link."""
        came = False
        while not came:
            if self.closed or self.handshake_timed_out():
                raise EOFError
            self._check_keys(inbox, outbox)
            came = loop.turn()
        self.heard_at = loop.heard_at

    def _next(self, loop: Loop, inbox: Inbox) -> tuple[int, paramiko.Message] | None:
        """The next message that is paramiko's to handle, None when nothing whole is there."""
        found = None
        while found is None:
            payload = inbox.next()
            if payload is None:
                break
            self._count += 1
            if not loop.receive(payload):
                if payload[0] in MSG_NAMES:
                    found = self._hand_over(payload)
                else:
                    self._not_implemented()
            elif self._they_renew:
                raise BadPacket("a message of a channel in the middle of a key exchange")
        full = inbox.full()
        loop.deliver()
        inbox.forget()
        return self._next(loop, inbox) if full and found is None else found

    def _hand_over(self, payload: memoryview) -> tuple[int, paramiko.Message]:
        kind = payload[0]
        if kind in (_KEY_EXCHANGE, _NEW_KEYS):
            self._they_renew = kind == _KEY_EXCHANGE
        message = paramiko.Message(bytes(payload[1:]))
        message.seqno = (self._count - 1) & 0xFFFFFFFF  # paramiko reads it for its UNIMPLEMENTED
        return kind, message

    def _not_implemented(self) -> None:
        """What every unknown message is answered with (RFC 4253 11.4)."""
        if self._outbox is not None and not self._they_renew:
            self._outbox.put([struct.pack(">BI", _UNIMPLEMENTED, (self._count - 1) & 0xFFFFFFFF)])

    def _check_keys(self, inbox: Inbox, outbox: Outbox) -> None:
        most_bytes = Packetizer.REKEY_BYTES << 5  # 16 GiB; RFC 4344 allows 64 for blocks of 16 bytes
        if not self.need_rekey():
            if inbox.taken_bytes < most_bytes and outbox.sent_bytes < most_bytes:
                return
            self._trigger_rekey()  # type: ignore[attr-defined]  # paramiko's types leave it out
        if inbox.taken_bytes > most_bytes + _IGNORED_BYTES:
            raise BadPacket("the server does not renew the keys")
        if self.gate.is_set():
            raise NeedRekeyException

    def _flush(self, outbox: Outbox) -> None:
        """As far as the socket takes it; the loop does the rest, but not for somebody who has much to say."""
        deadline = None
        while True:
            try:
                outbox.flush(self._sock)
            except OSError as error:
                raise EOFError from error
            if outbox.queued < (_QUEUED_BYTES if self.loop else 1):
                break
            deadline = deadline or self.patience.deadline()
            if self.closed or deadline.passed() or deadline.called_off.is_set():
                self.stalled()
                raise EOFError
            _wait_writable(self._sock)
        if outbox.queued and self.loop is not None:
            self.loop.wake()


def _wait_writable(sock: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(sock, selectors.EVENT_WRITE)
        except (ValueError, OSError) as error:  # closed meanwhile
            raise EOFError from error
        selector.select(_TICK_S)


def _never_queue_much(sock: socket.socket) -> None:
    """What the kernel has taken cannot be overtaken any more: a keystroke would wait behind it."""
    option = _TCP_NOTSENT_LOWAT.get(sys.platform)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if option is not None:
            with contextlib.suppress(OSError):  # a kernel without it queues more
                sock.setsockopt(socket.IPPROTO_TCP, option, _NOT_SENT_BYTES)
