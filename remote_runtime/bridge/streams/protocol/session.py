"""The streams of one client at one server, and the carriers that are there now."""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Dict, List, Optional, Set

from . import frames
from .carrier import ROOM_BYTES, Carrier
from .frames import BLOCKED, Buffer, ProtocolError
from .send_buffer import SpoolBudget
from .stream import SMALL_BYTES, LocalConnection, ResumableStream

ACK_DELAY_S = 0.02
_SMALL_ROOM_BYTES = 4 * ROOM_BYTES
_JOINED_BYTES = 4096
_MAX_OPENED = 16_384  # numbers kept one by one; the lower ones count as opened


class StreamSession:
    """Used by one thread. ``clock``: seconds, monotonic. ``call_later(delay_s, call)``: a timer of the event loop.
    ``open_local``: connects a stream that the peer opens, ``OSError`` if it cannot; the client, whose peer opens none,
    has no such function. ``on_reset(stream, why)``: a stream ended otherwise than by its two ends.
    ``max_bulk_carriers``: how many this end uses at once for what is not small.

    ``detached_since``: None while there is a carrier. ``resent_bytes``: in all."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
        budget: SpoolBudget,
        open_local: Optional[Callable[[int], LocalConnection]] = None,
        on_reset: Callable[[ResumableStream, str], None] = lambda stream, why: None,
        on_detached: Callable[[], None] = lambda: None,
        max_bulk_carriers: int = 4,
    ) -> None:
        self._clock = clock
        self.budget = budget
        self.streams: Dict[int, ResumableStream] = {}
        self.carriers: List[Carrier] = []
        self.detached_since: Optional[float] = clock()
        self.resent_bytes = 0
        self._call_later = call_later
        self._open_local = open_local
        self._on_reset = on_reset
        self._on_detached = on_detached
        self._max_bulk_carriers = max_bulk_carriers
        self._next_number = 1
        self._opened_below = 1
        self._opened: Set[int] = set()  # at or above ``_opened_below``
        self._small: Deque[ResumableStream] = deque()
        self._bulk: Deque[ResumableStream] = deque()
        self._arrived: Dict[int, ResumableStream] = {}
        self._unacknowledged: Dict[int, ResumableStream] = {}
        self._ack_timer_runs = False
        self._awaits_summary = False

    def clock(self) -> float:
        return self._clock()

    # ── carriers

    def attach(self, carrier: Carrier) -> None:
        """Use a carrier whose handshake is done. After an outage nothing is sent before the peer's SUMMARY."""
        if not self.carriers:
            self._awaits_summary = bool(self.streams)
            carrier.push(self._summary())
        self.carriers.append(carrier)
        self.carriers.sort(key=lambda each: each.number)
        self.detached_since = None
        carrier.flush()
        self.pump()

    def lose(self, carrier: Carrier, why: str) -> None:
        """Close the carrier, and send again on others what was sent on it."""
        if carrier.is_closed:
            return
        carrier.close()
        if carrier in self.carriers:
            self.carriers.remove(carrier)
        self.deliver()
        for stream in list(self.streams.values()):
            stream.sending.lose(carrier.number)
            self.queue(stream)
        if self.carriers:
            self.send(frames.frame(frames.LOST, carrier.number) + self._summary())
            self.pump()
        elif self.detached_since is None:
            self.detached_since = self.clock()
            self._on_detached()

    def detach(self, why: str) -> None:
        """Lose all carriers at once."""
        carriers, self.carriers = self.carriers, []
        for carrier in carriers:
            self.lose(carrier, why)

    def reset_streams(self, why: str, *, of: Callable[[ResumableStream], bool] = lambda stream: True) -> None:
        """Reset those streams for which ``of`` is true."""
        for stream in [each for each in self.streams.values() if of(each)]:
            stream.reset(why)

    def close(self, why: str) -> None:
        """Reset all streams and close all carriers."""
        self.reset_streams(why)
        for carrier in list(self.carriers):
            carrier.flush()
            carrier.close()
        self.carriers.clear()
        self.detached_since = self.detached_since or self.clock()

    # ── streams

    def open_stream(self, local: LocalConnection) -> ResumableStream:
        """A stream for a local connection of the client. Its first bytes open it at the server."""
        stream = ResumableStream(self, self._next_number, local)
        self._next_number += 1
        self.streams[stream.number] = stream
        stream.update_watch()
        return stream

    def on_closed(self, stream: ResumableStream, why: str) -> None:
        self.streams.pop(stream.number, None)
        self._unacknowledged.pop(stream.number, None)
        if why:
            self._on_reset(stream, why)

    # ── what arrives

    def on_data(self, number: int, offset: int, piece: Buffer, flags: int) -> None:
        """Raises ``ProtocolError``."""
        stream = self.streams.get(number)
        if stream is None and self._open_local is not None and not self._was_opened(number):
            try:
                stream = self._open_by_peer(number, self._open_local)
            except OSError as error:
                self.send(frames.frame(frames.RESET, number, 0, (error.strerror or str(error)).encode()[:200]))
                return
        if stream is not None:
            stream.on_data(offset, piece, flags)
            self._arrived[number] = stream
        else:  # to a stream that has ended at both ends this says nothing new
            self.send(frames.frame(frames.RESET, number, 0, b"this stream has ended"))

    def deliver(self) -> None:
        """Write what has arrived to the local connections. The pieces are not used afterwards."""
        arrived, self._arrived = self._arrived, {}
        for stream in arrived.values():
            stream.deliver()

    def on_frame(self, carrier: Carrier, kind: int, number: int, offset: int, payload: bytes) -> None:
        """Raises ``ProtocolError``, ``struct.error``."""
        stream = self.streams.get(number)
        if kind == frames.ACK:
            (limit,) = frames.LIMIT.unpack(payload)
            if stream is not None:
                self._check_offset(stream, offset)
                stream.on_acknowledged(offset, limit)
        elif kind == frames.RESET:
            if stream is not None:
                stream.deliver()
                stream.reset(payload.decode(errors="replace") or "the other end reset it", tell_peer=False)
        elif kind == frames.SUMMARY:
            self._on_summary(carrier, payload)
        elif kind == frames.LOST:
            lost = [each for each in self.carriers if each.number == number]
            for other in lost:
                self.lose(other, "the other end has given it up")
            if not lost:  # this end has noticed it before; the last ACK or RESET of a stream may have been on it since
                self.send(self._summary())
        else:
            raise ProtocolError(f"an unexpected frame of kind {kind}")

    def _on_summary(self, carrier: Carrier, payload: bytes) -> None:
        for number, delivered, limit in frames.SUMMARY_ENTRY.iter_unpack(payload):
            stream = self.streams.get(number)
            if stream is not None:
                self._check_offset(stream, delivered)
                stream.on_acknowledged(delivered, limit)
            elif self._open_local is None or self._was_opened(number):
                carrier.push(frames.frame(frames.RESET, number, 0, b"this stream has ended"))
        self._awaits_summary = False
        carrier.flush()

    @staticmethod
    def _check_offset(stream: ResumableStream, offset: int) -> None:
        if offset > stream.sending.end:
            raise ProtocolError("an acknowledgement of bytes that were not sent")

    def _open_by_peer(self, number: int, open_local: Callable[[int], LocalConnection]) -> ResumableStream:
        """Raises ``OSError``."""
        self._opened.add(number)
        if len(self._opened) > _MAX_OPENED:
            numbers = sorted(self._opened)
            self._opened_below = numbers[len(numbers) // 2]
            self._opened.difference_update(numbers[: len(numbers) // 2])
        while self._opened_below in self._opened:
            self._opened.remove(self._opened_below)
            self._opened_below += 1
        stream = self.streams[number] = ResumableStream(self, number, open_local(number))
        stream.update_watch()
        return stream

    def _was_opened(self, number: int) -> bool:
        return number < self._opened_below or number in self._opened

    # ── what is sent

    def send(self, content: bytes) -> None:
        """Whole frames, at once; lost while there is no carrier: the next SUMMARY has the same effect."""
        if self.carriers:
            carrier = self.carriers[0]
            carrier.push(content)
            carrier.flush()

    def acknowledge(self, stream: ResumableStream, *, at_once: bool) -> None:
        """Send an ACK now, or with the next DATA of the stream, or after ``ACK_DELAY_S``."""
        if at_once and self.carriers:
            self._unacknowledged.pop(stream.number, None)
            self.send(stream.ack_frame())
            return
        self._unacknowledged[stream.number] = stream
        if not self._ack_timer_runs:
            self._ack_timer_runs = True
            self._call_later(ACK_DELAY_S, self._send_acks)

    def queue(self, stream: ResumableStream) -> None:
        """Send the stream's next chunk in its turn."""
        chunk = None if stream.is_queued else stream.next_chunk()
        if chunk is not None:
            stream.is_queued = True
            # A small piece of a transfer follows the others: on the other carrier it would come early.
            (self._small if stream.sending.size <= SMALL_BYTES else self._bulk).append(stream)

    def pump(self) -> None:
        """Send what is queued and the carriers have room for."""
        if not self.carriers or self._awaits_summary:
            return
        used: Dict[int, Carrier] = {}
        for streams, choose in ((self._small, self._carrier_for_small), (self._bulk, self._carrier_for_bulk)):
            while streams:
                carrier = choose()
                if carrier is None:
                    break
                stream = streams.popleft()
                stream.is_queued = False
                self._send_next(stream, carrier)
                self.queue(stream)
                used[carrier.number] = carrier
                if carrier.queued_bytes >= ROOM_BYTES:
                    carrier.flush()
        for carrier in used.values():
            carrier.flush()

    def _send_next(self, stream: ResumableStream, carrier: Carrier) -> None:
        chunk = stream.next_chunk()
        if chunk is None:
            return
        try:
            content = chunk.content()
        except OSError as error:
            stream.reset(f"the spool cannot be read: {error.strerror or error}")
            return
        stream.sending.unsent.popleft()
        chunk.carrier = carrier.number
        if chunk.offset < stream.sent_to:
            self.resent_bytes += chunk.size
        stream.sent_to = max(stream.sent_to, chunk.end)
        ack = b""
        if self._unacknowledged.pop(stream.number, None) is not None:
            ack = stream.ack_frame()
        flags = chunk.flags | (BLOCKED if chunk.end >= stream.sending.limit else 0)
        head = frames.HEAD.pack(frames.DATA, flags, 0, stream.number, chunk.offset, chunk.size)
        if chunk.size < _JOINED_BYTES:
            carrier.push(ack + head + content)
        else:
            carrier.push(ack + head, content)

    def _carrier_for_small(self) -> Optional[Carrier]:
        quiet = self.carriers[0] if self.carriers else None
        return quiet if quiet is not None and quiet.queued_bytes < _SMALL_ROOM_BYTES else None

    def _carrier_for_bulk(self) -> Optional[Carrier]:
        candidates = self.carriers[1 : 1 + self._max_bulk_carriers] or self.carriers
        best = min(candidates, key=lambda each: each.queued_bytes, default=None)
        return best if best is not None and best.queued_bytes < ROOM_BYTES else None

    def _send_acks(self) -> None:
        self._ack_timer_runs = False
        streams, self._unacknowledged = self._unacknowledged, {}
        if streams:
            self.send(b"".join(stream.ack_frame() for stream in streams.values()))

    def _summary(self) -> bytes:
        entries = [stream.summary_entry() for stream in self.streams.values() if stream.is_used]
        return frames.frame(frames.SUMMARY, 0, 0, b"".join(entries))
