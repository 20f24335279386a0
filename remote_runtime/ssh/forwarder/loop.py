"""The forwarder's event loop: one thread that serves the SSH connection and all local sockets.

It runs in paramiko's transport thread, whenever that reads the next message (``transport.packetizer``).
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ...tunnel.relay import set_nodelay
from .aes_gcm import BadPacket
from .call_queue import Call, CallQueue
from .channel_table import ChannelTable
from .packet_reader import PacketReader
from .packet_writer import PacketWriter, ReadBuffers
from .timers import Alarm, Timer, TimerQueue
from .windows import MAX_CHANNELS, RttEstimator, WindowBudget

_MAX_QUEUED_BYTES = 256 << 10
_ACCEPT_RETRY_S = 0.5
_STALL_TIMEOUT_S = 30.0
_MAX_CHANNELS_IN_SELECT = 400  # Windows: Python's select takes 512 sockets
_MAX_STREAMS = 4096  # as the bridge's
_MAX_SILENT, _MAX_SILENT_IN_SELECT = 512, 80
_MAX_ACCEPTS = 64
_READ_AND_WRITE = selectors.EVENT_READ | selectors.EVENT_WRITE


class Pool(Protocol):
    """What the loop calls of a ``ChannelPool``."""

    @property
    def is_finished(self) -> bool: ...
    def close_now(self) -> None: ...


class Loop:
    """``sock``: the SSH connection's, non-blocking. ``clear_to_send``: not set while keys are being exchanged, when no
    channel may send anything (RFC 4253 7.1). ``max_silent``: how many silent clients a pool keeps; ``max_streams``: how
    many clients may have a stream. ``receive`` handles a message for one of its channels, see ``ChannelTable``."""

    def __init__(
        self, sock: socket.socket, reader: PacketReader, writer: PacketWriter, clear_to_send: threading.Event
    ) -> None:
        self.budget = WindowBudget()
        self.rtt = RttEstimator()
        self.read_buffers = ReadBuffers()
        self.channels = ChannelTable()
        self.receive = self.channels.receive
        self._sock = sock
        self._reader = reader
        self._writer = writer
        self._clear_to_send = clear_to_send
        self._outgoing: list[bytes] = []
        self._pools: list[Pool] = []
        self._to_flush: dict[Call, None] = {}
        self._waiting_to_send: dict[Call, None] = {}
        self._call_queue = CallQueue()
        self._timers = TimerQueue()
        self._stall_alarm = Alarm(self.call_later, self._check_stall)
        self._is_closed = False
        self._selector = selectors.DefaultSelector()
        only_select = isinstance(self._selector, selectors.SelectSelector)
        self._max_channels = _MAX_CHANNELS_IN_SELECT if only_select else MAX_CHANNELS
        self.max_silent = _MAX_SILENT_IN_SELECT if only_select else _MAX_SILENT
        self.max_streams = _MAX_CHANNELS_IN_SELECT if only_select else _MAX_STREAMS
        self._has_received = self._is_blocked = False
        self._send_error: OSError | None = None
        self._selector.register(
            self._call_queue.wakeup_socket, selectors.EVENT_READ, lambda events: self._call_queue.drain()
        )
        self._selector.register(sock, selectors.EVENT_READ, self._on_link_ready)
        self._link_events = selectors.EVENT_READ
        self.last_received_at = self._last_sent_at = time.monotonic()

    # ── for other threads

    def call_soon(self, call: Call) -> bool:
        """Make ``call`` in the loop's thread. Returns False if the loop has ended; ``call`` is not made then."""
        return self._call_queue.add(call)

    def wake(self) -> None:
        self._call_queue.wake()

    def add_pool(self, pool: Pool) -> None:
        def add() -> None:
            self._pools = [*(each for each in self._pools if not each.is_finished), pool]

        self.call_soon(add)

    # ── for the packetizer, in the loop's thread

    def run_once(self) -> bool:
        """Wait for events or until a timer is due, and handle them. Whether the SSH connection was read.

        Raises ``EOFError``, ``OSError``, ``BadPacket``.
        """
        self._flush_writer()
        self._has_received = False
        for key, events in self._selector.select(self._timers.next_delay_s()):
            key.data(events)
        if self._has_received:
            self.last_received_at = time.monotonic()
        elif self._send_error is not None:
            raise self._send_error
        self._timers.run_due()
        return self._has_received

    def flush(self) -> None:
        """Write received data to the clients."""
        to_flush, self._to_flush = self._to_flush, {}
        for flush in to_flush:
            flush()

    def close(self) -> None:
        """The SSH connection is lost: fail the waiting clients, reset the others."""
        if not self._call_queue.stop():
            return
        self._is_closed = True
        self._to_flush.clear()
        self._call_queue.run()
        for pool in self._pools:
            pool.close_now()
        self._selector.close()
        self._call_queue.close()

    # ── for pools, connections and channels

    def call_later(self, delay_s: float, call: Call) -> Timer:
        """Make ``call`` in the loop's thread after this time, unless the loop ends or the timer is cancelled before."""
        return self._timers.add(delay_s, call)

    def accept_from(self, listener: socket.socket, take: Callable[[socket.socket, tuple[str, int]], None]) -> None:
        if not self._is_closed and listener.fileno() >= 0:
            self._selector.register(listener, selectors.EVENT_READ, lambda events: self._accept(listener, take))

    def stop_accepting(self, listener: socket.socket) -> None:
        if not self._is_closed and listener in self._selector.get_map():
            self._selector.unregister(listener)

    def at_capacity(self) -> bool:
        """Whether no further channel is sure of a minimal window, or of a place in select(2)."""
        return self._is_closed or len(self.channels) >= self._max_channels

    def send(self, message: bytes) -> None:
        self._outgoing.append(message)

    def can_send(self) -> bool:
        return self._writer.queued_bytes < _MAX_QUEUED_BYTES and self._clear_to_send.is_set() and not self._is_closed

    def wait_writable(self, on_writable: Call) -> None:
        """Call ``on_writable`` once ``can_send``."""
        self._waiting_to_send[on_writable] = None

    def send_from_buffers(self, peer: int, count: int) -> None:
        self._write_outgoing()
        self._writer.write_data(peer, self.read_buffers.buffer, count)

    def schedule_flush(self, flush: Call) -> None:
        """Call ``flush`` before the received views become invalid."""
        self._to_flush[flush] = None

    def watch(self, sock: socket.socket, before: int, events: int, on_ready: Callable[[int], None]) -> None:
        """Call ``on_ready`` with those of ``events`` that ``sock`` is ready for. ``before``: the events watched so far,
        0 for none."""
        if self._is_closed:
            return
        if events == 0:
            self._selector.unregister(sock)
        elif before:
            self._selector.modify(sock, events, on_ready)
        else:
            self._selector.register(sock, events, on_ready)

    # ── inside

    def _flush_writer(self) -> None:
        """Send queued packets, and let connections that waited for that read their clients again."""
        if self._outgoing and self._clear_to_send.is_set():
            self._write_outgoing()
        if self._writer.queued_bytes and self._send_error is None:
            try:
                if self._writer.flush(self._sock):
                    self._last_sent_at = time.monotonic()
            except OSError as error:  # raised once everything that has arrived was read
                self._send_error = error
        if self._waiting_to_send and self.can_send():
            waiting, self._waiting_to_send = self._waiting_to_send, {}
            for on_writable in waiting:
                on_writable()
        is_blocked = self._writer.queued_bytes > 0 and self._send_error is None
        if is_blocked and not self._is_blocked:
            self._last_sent_at = time.monotonic()
            self._stall_alarm.set(_STALL_TIMEOUT_S)
        self._is_blocked = is_blocked
        events = _READ_AND_WRITE if is_blocked else selectors.EVENT_READ
        if events != self._link_events:
            self._link_events = events
            self._selector.modify(self._sock, events, self._on_link_ready)

    def _write_outgoing(self) -> None:
        if self._outgoing:
            self._writer.write(self._outgoing)
            self._outgoing.clear()

    def _on_link_ready(self, events: int) -> None:
        if events & selectors.EVENT_READ:
            self._reader.read_from(self._sock)
            self._has_received = True

    def _accept(self, listener: socket.socket, take: Callable[[socket.socket, tuple[str, int]], None]) -> None:
        for _ in range(_MAX_ACCEPTS):
            try:
                sock, came_from = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:  # no descriptor is left
                self._selector.unregister(listener)
                self.call_later(_ACCEPT_RETRY_S, lambda: self.accept_from(listener, take))
                return
            sock.setblocking(False)
            set_nodelay(sock)
            take(sock, came_from[:2])

    def _check_stall(self) -> None:
        """Raises ``BadPacket`` if the link has taken nothing of what was queued for ``_STALL_TIMEOUT_S``."""
        if not self._is_blocked:
            return
        left_s = self._last_sent_at + _STALL_TIMEOUT_S - time.monotonic()
        if left_s <= 0:
            raise BadPacket("the link takes no more data")
        self._stall_alarm.set(left_s)
