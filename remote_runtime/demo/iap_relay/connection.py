"""One WebSocket connection of a relay session: what it transfers and acknowledges."""

from __future__ import annotations

import selectors
import socket
import struct
import threading

from . import protocol as wire
from .protocol import RelayRefusal
from .session import RelaySession
from .websocket import PeerGone, RelaySocket

_IDLE_S = 0.1
_MAX_QUEUED_BYTES = 256 << 10


class RelayConnection:
    """``closed`` is set when the relay ends."""

    ack_interval_bytes = 32 << 10

    def __init__(self, client: RelaySocket, session: RelaySession, closed: threading.Event) -> None:
        self.client = client
        self.session = session
        self.closed = closed
        self.transferred_bytes = 0
        self._acknowledged = session.received

    def greet(self, *, is_new: bool) -> None:
        """The first message: the session was opened, or is resumed."""
        sid, received = self.session.sid, self.session.received
        self.client.put(wire.connect_success_sid(sid) if is_new else wire.reconnect_success_ack(received))

    def run(self) -> None:
        """Until ``is_over``. Raises ``PeerGone``."""
        client, session = self.client, self.session
        with selectors.DefaultSelector() as selector:
            while True:
                while len(client.out) < _MAX_QUEUED_BYTES and (chunk := session.next_chunk()) is not None:
                    client.put(wire.data(chunk))
                    self.transferred_bytes += len(chunk)
                client.flush()
                if self.is_over():
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

    def is_over(self) -> bool:
        """Whether another connection takes the session over, or the relay ends."""
        return self.session.detach_requested.is_set() or self.closed.is_set()

    def _handle_message(self, message: bytes) -> None:
        (tag,) = struct.unpack_from(">H", message)
        if tag == 4:
            (size,) = struct.unpack_from(">I", message, 2)
            content = message[6:]
            if size != len(content) or size > wire.MAX_ARRAY_BYTES:
                self.client.close(1002, "a malformed message")
                raise PeerGone(closed_cleanly=True)
            self.session.add_input(content)
            self.transferred_bytes += size
        elif tag == 7:
            (received,) = struct.unpack_from(">Q", message, 2)
            try:
                self.session.acknowledge(received)
            except RelayRefusal as refusal:
                self.client.close(1002, refusal.reason)
                raise PeerGone(closed_cleanly=True) from refusal

    def _acknowledge(self, *, idle: bool) -> None:
        behind = self.session.received - self._acknowledged
        if behind > (0 if idle else self.ack_interval_bytes):
            self._acknowledged = self.session.received
            self.client.put(wire.ack(self._acknowledged))


def _set_interest(selector: selectors.BaseSelector, sock: socket.socket, *, read: bool, write: bool) -> None:
    events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
    key = selector.get_map().get(sock)
    if key is None and events:
        selector.register(sock, events)
    elif key is not None and not events:
        selector.unregister(sock)
    elif key is not None and key.events != events:
        selector.modify(sock, events)
