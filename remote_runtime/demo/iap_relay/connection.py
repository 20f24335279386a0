"""One connection of a session to the relay: what it carries, acknowledges, and does wrong."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from typing import Protocol

from . import protocol as wire
from .protocol import RelayFault, RelayRefusal
from .session import RelaySession
from .websocket import PeerGone, RelaySocket

ACK_INTERVAL_BYTES = 32 << 10
_IDLE_S = 0.1
_MAX_QUEUED_BYTES = 256 << 10
_BREAKS = ("rst", "fin", "tls-eof", "write-error", "silence")


class RelayCounters(Protocol):
    """What the connections of a relay share."""

    transferred_bytes: int
    acknowledge_bytes: int
    closed: threading.Event


class RelayConnection:
    """One connection of a session, until it breaks."""

    def __init__(
        self, client: RelaySocket, session: RelaySession, fault: RelayFault | None, relay: RelayCounters
    ) -> None:
        self._client = client
        self._session = session
        self._fault = fault
        self._relay = relay
        self._transferred_bytes = 0
        self._acknowledged = session.received

    def run(self) -> None:
        """Raises ``Gone``."""
        client, session = self._client, self._session
        with selectors.DefaultSelector() as selector:
            while not self._session.detach_requested.is_set() and not self._relay.closed.is_set():
                while len(client.out) < _MAX_QUEUED_BYTES and (chunk := session.next_chunk()) is not None:
                    client.put(wire.data(chunk))
                    self._count(len(chunk))
                client.flush()
                if self._fault is not None and self._transferred_bytes >= self._fault.after_bytes and self._misbehave():
                    return
                if session.close_code is not None and session.all_sent and not client.out:
                    client.close(session.close_code, "the backend ended")
                    raise PeerGone(closed_cleanly=True)
                _set_interest(selector, client.sock, read=session.accepts_input, write=bool(client.out))
                _set_interest(selector, session.backend, read=session.wants_to_read, write=session.wants_to_write)
                idle = not selector.select(0 if client.pending() and session.accepts_input else _IDLE_S)
                if session.accepts_input:
                    for message in client.receive():
                        self._handle_message(message)
                if session.wants_to_write:
                    session.write_backend()
                if session.wants_to_read:
                    session.read_backend()
                self._acknowledge(idle=idle)

    def _handle_message(self, message: bytes) -> None:
        (tag,) = struct.unpack_from(">H", message)
        if tag == 4:
            (size,) = struct.unpack_from(">I", message, 2)
            content = message[6:]
            if size != len(content) or size > wire.MAX_ARRAY_BYTES:
                self._client.close(1002, "a malformed message")
                raise PeerGone(closed_cleanly=True)
            self._session.add_input(content)
            self._count(size)
        elif tag == 7:
            (received,) = struct.unpack_from(">Q", message, 2)
            try:
                self._session.acknowledge(received)
            except RelayRefusal as refusal:
                self._client.close(1002, refusal.reason)
                raise PeerGone(closed_cleanly=True) from refusal

    def _count(self, size: int) -> None:
        self._transferred_bytes += size
        self._relay.transferred_bytes += size

    def _acknowledge(self, *, idle: bool) -> None:
        behind = self._session.received - self._acknowledged
        if behind > (0 if idle else self._relay.acknowledge_bytes):
            self._acknowledged = self._session.received
            self._client.put(wire.ack(self._acknowledged))

    def _misbehave(self) -> bool:
        """Whether the connection is over."""
        fault, client = self._fault, self._client
        self._fault = None
        if fault is None:
            return False
        if fault.kind in _BREAKS:
            client.break_off(
                fault, lambda seconds: self._session.detach_requested.is_set() or self._relay.closed.wait(seconds)
            )
            return True
        if fault.kind == "close":
            client.close(fault.code, "as it was told")
            return True
        if fault.kind == "garbage":
            client.out += b"\xff" * 64
        elif fault.kind != "early-data":
            client.put(self._wrong(fault))
        return False

    def _wrong(self, fault: RelayFault) -> bytes:
        if fault.kind == "long-close":
            return wire.long_close(fault.code, "as it was told")
        if fault.kind == "low-ack":
            self._client.put(wire.ack(self._session.received))
            return wire.ack(self._session.received - 1)
        if fault.kind == "high-ack":
            return wire.ack(self._session.received + (1 << 40))
        if fault.kind == "second-success":
            return wire.connect_success_sid(self._session.sid)
        if fault.kind == "oversized":
            return wire.data(bytes(wire.MAX_ARRAY_BYTES + 1))
        raise ValueError(f"{fault.kind} is no message")


def _set_interest(selector: selectors.BaseSelector, sock: socket.socket, *, read: bool, write: bool) -> None:
    events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
    key = selector.get_map().get(sock)
    if key is None and events:
        selector.register(sock, events)
    elif key is not None and not events:
        selector.unregister(sock)
    elif key is not None and key.events != events:
        selector.modify(sock, events)
