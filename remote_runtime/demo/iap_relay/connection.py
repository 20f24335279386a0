"""One connection of a session to the relay: what it carries, acknowledges, and does wrong."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from typing import Protocol

from . import protocol as wire
from .protocol import Fault, Refusal
from .session import Session
from .websocket import Gone, RelaySocket

ACKNOWLEDGE_BYTES = 32 << 10
_IDLE_S = 0.1
_QUEUED_BYTES = 256 << 10
_BREAKS = ("rst", "fin", "tls-eof", "write-error", "silence")


class House(Protocol):
    """What the connections of a relay share."""

    carried: int
    acknowledge_bytes: int
    ended: threading.Event


class Conversation:
    """One connection of a session, until it breaks."""

    def __init__(self, client: RelaySocket, session: Session, fault: Fault | None, house: House) -> None:
        self._client = client
        self._session = session
        self._fault = fault
        self._house = house
        self._carried = 0
        self._acknowledged = session.received

    def carry(self) -> None:
        """Raises ``Gone``."""
        client, session = self._client, self._session
        with selectors.DefaultSelector() as selector:
            while not self._session.give_way.is_set() and not self._house.ended.is_set():
                while len(client.out) < _QUEUED_BYTES and (chunk := session.next()) is not None:
                    client.put(wire.data(chunk))
                    self._count(len(chunk))
                client.flush()
                if self._fault is not None and self._carried >= self._fault.after_bytes and self._misbehave():
                    return
                if session.ended is not None and session.all_sent and not client.out:
                    client.close(session.ended, "the backend ended")
                    raise Gone(said_so=True)
                _watch(selector, client.sock, read=session.takes_more, write=bool(client.out))
                _watch(selector, session.machine, read=session.wants_to_read, write=session.wants_to_write)
                idle = not selector.select(0 if client.pending() and session.takes_more else _IDLE_S)
                if session.takes_more:
                    for message in client.receive():
                        self._hear(message)
                if session.wants_to_write:
                    session.write_machine()
                if session.wants_to_read:
                    session.read_machine()
                self._acknowledge(idle=idle)

    def _hear(self, message: bytes) -> None:
        (tag,) = struct.unpack_from(">H", message)
        if tag == 4:
            (size,) = struct.unpack_from(">I", message, 2)
            content = message[6:]
            if size != len(content) or size > wire.ARRAY_LIMIT_BYTES:
                self._client.close(1002, "a malformed message")
                raise Gone(said_so=True)
            self._session.take(content)
            self._count(size)
        elif tag == 7:
            (received,) = struct.unpack_from(">Q", message, 2)
            try:
                self._session.confirm(received)
            except Refusal as refusal:
                self._client.close(1002, refusal.reason)
                raise Gone(said_so=True) from refusal

    def _count(self, size: int) -> None:
        self._carried += size
        self._house.carried += size

    def _acknowledge(self, *, idle: bool) -> None:
        behind = self._session.received - self._acknowledged
        if behind > (0 if idle else self._house.acknowledge_bytes):
            self._acknowledged = self._session.received
            self._client.put(wire.acknowledged(self._acknowledged))

    def _misbehave(self) -> bool:
        """Whether the connection is over."""
        fault, client = self._fault, self._client
        self._fault = None
        if fault is None:
            return False
        if fault.kind in _BREAKS:
            client.break_off(fault, lambda seconds: self._session.give_way.is_set() or self._house.ended.wait(seconds))
            return True
        if fault.kind == "close":
            client.close(fault.code, "as it was told")
            return True
        if fault.kind == "garbage":
            client.out += b"\xff" * 64
        elif fault.kind != "early-data":
            client.put(self._wrong(fault))
        return False

    def _wrong(self, fault: Fault) -> bytes:
        if fault.kind == "long-close":
            return wire.long_close(fault.code, "as it was told")
        if fault.kind == "low-ack":
            self._client.put(wire.acknowledged(self._session.received))
            return wire.acknowledged(self._session.received - 1)
        if fault.kind == "high-ack":
            return wire.acknowledged(self._session.received + (1 << 40))
        if fault.kind == "second-success":
            return wire.connected(self._session.sid)
        if fault.kind == "oversized":
            return wire.data(bytes(wire.ARRAY_LIMIT_BYTES + 1))
        raise ValueError(f"{fault.kind} is no message")


def _watch(selector: selectors.BaseSelector, sock: socket.socket, *, read: bool, write: bool) -> None:
    events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
    key = selector.get_map().get(sock)
    if key is None and events:
        selector.register(sock, events)
    elif key is not None and not events:
        selector.unregister(sock)
    elif key is not None and key.events != events:
        selector.modify(sock, events)
