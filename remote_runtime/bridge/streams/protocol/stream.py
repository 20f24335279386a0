"""One local connection whose bytes travel in a session."""

from __future__ import annotations

from typing import List, Optional, Protocol

from . import frames
from .buffer_queue import BufferQueue
from .frames import BLOCKED, FIN, RST, Buffer
from .receive_buffer import INITIAL_WINDOW_BYTES, MAX_WINDOW_BYTES, ReceiveBuffer
from .send_buffer import Chunk, SendBuffer, SpoolBudget, SpoolFull

SMALL_BYTES = 16 << 10
_MAX_READ_BYTES = 256 << 10
_MEMORY_BYTES = 4 << 20
_MAX_UNACKNOWLEDGED = 1 << 20  # what is not acknowledged stays in memory, which is slow once it leaves the cache
_UPGRADED = b"HTTP/1.1 101 "  # RFC 9112 4


class StreamOwner(Protocol):
    """The session that a stream belongs to."""

    budget: SpoolBudget

    def acknowledge(self, stream: ResumableStream, *, at_once: bool) -> None: ...
    def on_closed(self, stream: ResumableStream, why: str) -> None: ...
    def pump(self) -> None: ...
    def queue(self, stream: ResumableStream) -> None: ...
    def send(self, content: bytes) -> None: ...


class LocalConnection(Protocol):
    """The local socket of a stream."""

    def serve(self, stream: ResumableStream) -> None:
        """Called once, first: whose ``on_readable`` and ``on_writable`` to call."""

    def recv(self, max_bytes: int) -> bytes:
        """Empty at EOF. Raises ``BlockingIOError``, and ``OSError`` if the connection is gone."""

    def send(self, buffers: List[Buffer]) -> int:
        """How many bytes of them were accepted. Raises as ``recv`` does."""

    def watch(self, *, readable: bool, writable: bool) -> None:
        """Call ``on_readable`` and ``on_writable`` when the connection is ready, from now on."""

    def shut_down(self) -> None:
        """Send EOF. Raises ``OSError``."""

    def close(self, *, reset: bool) -> None:
        """``reset``: with a TCP reset, where there is one."""


class ResumableStream:
    """``confirmed``: bytes before it were written to the peer's local connection while that was there.
    ``is_websocket``: the server switched protocols (status 101)."""

    def __init__(self, session: StreamOwner, number: int, local: LocalConnection) -> None:
        self.number = number
        self.local = local
        self.sending = SendBuffer(session.budget)
        self.receiving = ReceiveBuffer()
        self.confirmed = 0
        self.sent_to = 0
        self.is_websocket = self.is_queued = self.is_closed = False
        self._session = session
        self._spools = False
        self._pending = BufferQueue()  # received, not accepted by the local connection yet
        self._must_wait = self._peer_is_blocked = False
        self._last_ack = 0
        self._has_read_end = self._has_delivered_end = self._discards = self._is_peer_gone = False
        self._kept_back: Optional[int] = None  # to be acknowledged until the peer knows that the connection is gone
        self._watched = (False, False)
        self._read_bytes = SMALL_BYTES
        local.serve(self)

    # ── from the local connection to the peer

    def on_readable(self) -> None:
        if self.is_closed or self._has_read_end:
            return
        try:
            content = self.local.recv(self._read_bytes)
        except BlockingIOError:
            return
        except OSError:
            self._on_local_gone()
            return
        if content:
            if len(content) == self._read_bytes:
                self._read_bytes = min(_MAX_READ_BYTES, 2 * self._read_bytes)
            elif len(content) < SMALL_BYTES:
                self._read_bytes = SMALL_BYTES
            self._append(content)
        else:
            self._append_end(FIN)
        self._session.pump()
        self.update_watch()

    def take(self, content: memoryview) -> int:
        """How many bytes of the local connection, which nothing precedes in its socket, are taken at once: 0 while the
        peer or the carriers accept no more. A copy and a turn of the event loop less than by ``on_readable``."""
        if self.is_closed or self.is_queued or self._has_read_end or self.sending.end >= self.sending.limit:
            return 0
        piece = bytes(content[:_MAX_READ_BYTES])
        self._append(piece)
        self._session.pump()
        self.update_watch()
        return len(piece)

    def next_chunk(self) -> Optional[Chunk]:
        """The chunk to send next; None if there is none, or the peer accepts no more."""
        unsent = self.sending.unsent
        if self.is_closed or not unsent or (unsent[0].offset >= self.sending.limit and unsent[0].size):
            return None
        return unsent[0]

    def on_acknowledged(self, offset: int, limit: int) -> None:
        self.sending.acknowledge(offset, limit)
        if not self._is_peer_gone:
            self.confirmed = self.sending.acknowledged
        if self._kept_back is not None and not len(self.sending):
            self._kept_back = None
            self._acknowledge(at_once=True)
        self._session.queue(self)
        if not self._close_if_done():
            self.update_watch()

    def _append(self, content: bytes) -> None:
        if not self.sending.end and content.startswith(_UPGRADED):
            # A WebSocket's server neither waits for its reader nor limits what it keeps for it: read it at once.
            self.is_websocket = self._spools = True
        try:
            self.sending.append(content, spool_above=_MEMORY_BYTES if self._spools else None)
        except SpoolFull as error:
            self.reset(str(error))
            return
        self._session.queue(self)

    def _append_end(self, flags: int) -> None:
        if not self._has_read_end:
            self._has_read_end = True
            self.sending.append(b"", flags)
            self._session.queue(self)

    def _on_local_gone(self) -> None:
        """The local connection was reset: report it to the peer, and drop what the peer sends."""
        self._append_end(FIN | RST)
        self._discard_incoming()
        self._deliver_end()
        self._session.pump()
        if not self._close_if_done():
            self.update_watch()

    # ── from the peer to the local connection

    def on_data(self, offset: int, piece: Buffer, flags: int) -> None:
        """Raises ``ProtocolError``."""
        for part in self.receiving.add(offset, piece, flags):
            self._append_arrived(part)
        if flags & BLOCKED:
            self._peer_is_blocked = True

    def deliver(self) -> None:
        """Write what has arrived to the local connection. The pieces are not used afterwards."""
        if self.is_closed:
            return
        was_blocked, self._peer_is_blocked = self._peer_is_blocked, False
        if not self._must_wait:
            self._write()
        self._pending.keep()
        if was_blocked:
            self._widen()
        self._finish_writing(at_once=was_blocked)

    def on_writable(self) -> None:
        self._write()
        self._finish_writing(at_once=False)

    def summary_entry(self) -> bytes:
        return frames.SUMMARY_ENTRY.pack(self.number, self._note_ack(), self.receiving.grant())

    def ack_frame(self) -> bytes:
        return frames.frame(frames.ACK, self.number, self._note_ack(), frames.LIMIT.pack(self.receiving.grant()))

    def _note_ack(self) -> int:
        """The offset to acknowledge."""
        self._last_ack = self.receiving.delivered if self._kept_back is None else self._kept_back
        return self._last_ack

    @property
    def is_used(self) -> bool:
        """Whether the peer knows, or will know, this stream."""
        return bool(self.sending.end or self.receiving.received)

    def _append_arrived(self, part: Buffer) -> None:
        receiving = self.receiving
        if receiving.received == len(part) and bytes(part[: len(_UPGRADED)]) == _UPGRADED:
            self.is_websocket = True
        if self._discards:
            receiving.delivered = receiving.received
        else:
            self._pending.append_view(part)

    def _write(self) -> None:
        before = self._pending.size
        try:
            self._pending.send(self.local.send)
        except BlockingIOError:
            pass
        except OSError:
            self._on_local_gone()
            return
        self.receiving.delivered += before - self._pending.size
        self._must_wait = self._pending.size > 0

    def _finish_writing(self, *, at_once: bool) -> None:
        self._deliver_end()
        if not self._close_if_done():
            self._acknowledge(at_once=at_once)
            self.update_watch()

    def _discard_incoming(self) -> None:
        if not self._discards and len(self.sending):
            self._kept_back = self.receiving.delivered
        self._discards, self._must_wait = True, False
        self._pending.clear()
        self.receiving.delivered = self.receiving.received

    def _deliver_end(self) -> None:
        receiving = self.receiving
        if self._has_delivered_end or receiving.end is None or receiving.delivered != receiving.end:
            return
        self._has_delivered_end = True
        receiving.received = receiving.delivered = receiving.end + 1
        self._is_peer_gone = bool(receiving.end_flags & RST)
        if self._discards:
            return
        if receiving.end_flags & RST:
            self._append_end(FIN)
            self._discards = True
            self._watch(readable=False, writable=False)
            self.local.close(reset=True)
            return
        try:
            self.local.shut_down()
        except OSError:
            self._append_end(FIN | RST)
            self._discards = True

    def _widen(self) -> None:
        """Widen the window of a reader that keeps up: fourfold, since each step costs a round trip."""
        window = self.receiving.window
        more = min(3 * window, MAX_WINDOW_BYTES - window)
        if more and not self._pending.size and self._session.budget.receiving.reserve(more):
            self.receiving.window += more

    def _acknowledge(self, *, at_once: bool) -> None:
        unacknowledged = self.receiving.delivered - self._last_ack
        limit = min(self.receiving.window // 4, _MAX_UNACKNOWLEDGED)
        if at_once or unacknowledged > 0:
            self._session.acknowledge(self, at_once=at_once or unacknowledged >= limit)

    # ── both directions

    def update_watch(self) -> None:
        """Watch the local connection for what can be done with it now."""
        if not self.is_closed:
            readable = not self._has_read_end and (self._spools or self.sending.end < self.sending.limit)
            self._watch(readable=readable, writable=self._must_wait)

    def reset(self, why: str, *, tell_peer: bool = True) -> None:
        """Close both ends now."""
        if tell_peer and not self.is_closed:
            self._session.send(frames.frame(frames.RESET, self.number, 0, why.encode()[:200]))
        self._close(why if not self._has_delivered_end else "")

    def _watch(self, *, readable: bool, writable: bool) -> None:
        if (readable, writable) != self._watched:
            self._watched = (readable, writable)
            self.local.watch(readable=readable, writable=writable)

    def _close_if_done(self) -> bool:
        if not self.is_closed and self._has_read_end and self._has_delivered_end and not len(self.sending):
            self._session.send(self.ack_frame())
            self._close("")
        return self.is_closed

    def _close(self, why: str) -> None:
        """``why``: of a reset, else empty."""
        if self.is_closed:
            return
        self._watch(readable=False, writable=False)
        self.is_closed = True
        self._session.budget.receiving.release(self.receiving.window - INITIAL_WINDOW_BYTES)
        self.sending.clear()
        self.receiving.clear()
        self._pending.clear()
        self.local.close(reset=bool(why))
        self._session.on_closed(self, why)
