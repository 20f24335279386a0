"""One connection between the two ends that carries frames of any stream."""

from __future__ import annotations

import struct
from typing import List, Optional, Protocol

from . import frames
from .buffer_queue import BufferQueue
from .frames import Buffer, FrameParser, ProtocolError

ROOM_BYTES = 256 << 10  # a deeper queue takes a whole window into one carrier before the next one gets anything
_MAX_QUEUED_BYTES = 2 << 20  # of a peer that makes this end answer, and reads no answers


class CarrierOwner(Protocol):
    """The session that uses a carrier."""

    def clock(self) -> float: ...
    def deliver(self) -> None: ...
    def on_data(self, number: int, offset: int, piece: Buffer, flags: int) -> None: ...
    def on_frame(self, carrier: Carrier, kind: int, number: int, offset: int, payload: bytes) -> None: ...
    def lose(self, carrier: Carrier, why: str) -> None: ...
    def pump(self) -> None: ...


class CarrierTransport(Protocol):
    """The connection below a carrier."""

    def serve(self, carrier: Carrier) -> None:
        """Called once, first: whose ``on_received``, ``on_all_received``, ``on_writable`` and ``on_lost`` to call."""

    def send(self, buffers: List[Buffer]) -> int:
        """How many bytes are accepted now; 0 if none. Raises ``OSError`` if the connection is lost."""

    def watch_writable(self, wanted: bool) -> None:
        """Call ``on_writable`` once ``send`` accepts bytes again, or no longer."""

    def close(self) -> None: ...


class Carrier:
    """``number``: never used twice in a session; the lowest one of those attached is for small frames.
    ``last_received_at``: by the session's clock. ``pinged_at``: when an unanswered PING was sent."""

    def __init__(self, session: CarrierOwner, transport: CarrierTransport, number: int) -> None:
        self.number = number
        self.last_received_at = session.clock()
        self.pinged_at: Optional[float] = None
        self.is_closed = False
        self._session = session
        self._transport = transport
        self._queue = BufferQueue()
        self._is_waiting = False
        self._parser = FrameParser(session.on_data, self._on_frame)
        transport.serve(self)

    @property
    def queued_bytes(self) -> int:
        return self._queue.size

    def on_received(self, view: memoryview) -> None:
        """``view`` is not used after ``on_all_received``."""
        if self.is_closed:
            return
        try:
            self._parser.feed(view)
        except (ProtocolError, struct.error) as error:
            self._session.lose(self, f"protocol error: {error}")
        if self.queued_bytes > _MAX_QUEUED_BYTES:
            self._session.lose(self, "the other end reads nothing")

    def on_all_received(self) -> None:
        """Nothing more has arrived for now: one write to each local connection is cheaper than one for each piece."""
        self.last_received_at = self._session.clock()
        self._session.deliver()
        self._session.pump()

    def on_writable(self) -> None:
        self.flush()
        self._session.pump()

    def on_lost(self, why: str) -> None:
        self._session.lose(self, why)

    def push(self, *buffers: Buffer) -> None:
        """Queue buffers, whole frames altogether; ``flush`` sends them."""
        for buffer in buffers:
            self._queue.append(buffer)

    def flush(self) -> None:
        """Send as much as the transport accepts."""
        try:
            self._queue.send(self._transport.send)
        except OSError as error:
            self._session.lose(self, error.strerror or str(error))
            return
        if bool(self._queue.size) != self._is_waiting and not self.is_closed:
            self._is_waiting = bool(self._queue.size)
            self._transport.watch_writable(self._is_waiting)

    def ping(self) -> None:
        self.pinged_at = self._session.clock()
        self.push(frames.frame(frames.PING))
        self.flush()

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._queue.clear()
            self._transport.close()

    def _on_frame(self, kind: int, stream: int, offset: int, payload: bytes) -> None:
        if kind == frames.PING:
            self.push(frames.frame(frames.PONG, 0, offset))
            self.flush()
        elif kind == frames.PONG:
            self.pinged_at = None
        elif not self.is_closed:
            self._session.on_frame(self, kind, stream, offset, payload)
