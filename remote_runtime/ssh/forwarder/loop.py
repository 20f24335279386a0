"""The loop: one thread that waits for the link and all local connections, and moves what can be moved.

It runs inside paramiko's own thread, whenever that asks for the next message (``hook``).
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from typing import Protocol

from ...core.errors import RemoteRuntimeError
from . import messages
from .aes_gcm import BadPacket
from .call_queue import Calls
from .channel import Channel
from .channel_pool import Lane
from .client import Address, Proof
from .connection import Flow
from .late_packets import Late
from .packet_reader import Inbox
from .packet_writer import Outbox, Slots
from .protocols import Relief
from .windows import MOST_CHANNELS, Delay, Pool

_QUEUED_BYTES = 256 << 10
_TICK_S = 0.5
_STALL_S = 30.0
_MOST_IN_SELECT = 400  # Windows: Python's select takes 512 sockets
_MOST_SILENT, _MOST_SILENT_IN_SELECT = 512, 80
_ACCEPTED_AT_ONCE = 64
_COUNT_EVERY_S = 0.02
_READ_AND_WRITE = selectors.EVENT_READ | selectors.EVENT_WRITE


class Gate(Protocol):
    """Whether messages of channels may be sent: not while keys are being renewed (RFC 4253 7.1)."""

    def is_set(self) -> bool: ...


class Loop:
    """``sock``: the link's, non-blocking. ``call_soon`` may be used from any thread."""

    def __init__(self, sock: socket.socket, inbox: Inbox, outbox: Outbox, gate: Gate) -> None:
        self.pool = Pool()
        self.delay = Delay()
        self.slots = Slots()
        self._sock = sock
        self._inbox = inbox
        self._outbox = outbox
        self._gate = gate
        self._held: list[bytes] = []
        self._lanes: list[Lane] = []
        self._channels: dict[int, Channel] = {}
        self._late = Late()
        self._next_number = messages.FIRST_NUMBER
        self._marked: dict[Flow, None] = {}
        self._blocked: dict[Flow, None] = {}
        self._calls = Calls()
        self._later: list[Callable[[], None]] = []
        self._over = False
        self._selector = selectors.DefaultSelector()
        only_select = isinstance(self._selector, selectors.SelectSelector)
        self._most_channels = _MOST_IN_SELECT if only_select else MOST_CHANNELS
        self._most_silent = _MOST_SILENT_IN_SELECT if only_select else _MOST_SILENT
        self._heard = False
        self._broken: OSError | None = None
        self._lasting = 0
        self._counted_at = 0.0
        self._selector.register(self._calls.bell, selectors.EVENT_READ, lambda events: self._calls.answer())
        self._selector.register(sock, selectors.EVENT_READ, self._move_link)
        self._link_events = selectors.EVENT_READ
        self.heard_at = self._ticked_at = self._moved_at = time.monotonic()

    # ── for other threads

    def call_soon(self, call: Callable[[], None]) -> bool:
        """In the loop's thread. False when the loop has ended, ``call`` is not called then."""
        return self._calls.add(call)

    def wake(self) -> None:
        self._calls.wake()

    def lane(
        self,
        host: str,
        port: int,
        *,
        prove: Callable[[], Proof] | None,
        keep_ready: bool,
        explain: Callable[[int, str], RemoteRuntimeError],
        lost: Callable[[], RemoteRuntimeError],
        relief: Relief | None = None,
    ) -> Lane:
        """See ``Lane``."""
        lane = Lane(self, host, port, prove=prove, keep_ready=keep_ready, explain=explain, lost=lost, relief=relief)
        self.call_soon(lambda: self._lanes.append(lane))
        return lane

    @property
    def carried(self) -> int:
        """How many connections it carries, or will in a moment; to other threads, about."""
        return sum(lane.carried for lane in self._lanes) + len(self._calls)

    def lasting(self) -> int:
        """How many of them have been there for a while; a moment ago. In the loop's thread."""
        now = time.monotonic()
        if now - self._counted_at > _COUNT_EVERY_S:
            self._counted_at = now
            self._lasting = sum(lane.lasting(now) for lane in self._lanes)
        return self._lasting

    def refill(self) -> None:
        """There is room elsewhere, or there will be none."""

        def refill() -> None:
            for lane in self._lanes:
                lane.refill()

        self.call_soon(refill)

    # ── for the hook, in the loop's thread

    def turn(self) -> bool:
        """Wait until something can be moved, at most half a second, and move it. Whether the link said something.

        Raises ``EOFError``, ``OSError``, ``BadPacket``.
        """
        self._send()
        self._heard = False
        for key, events in self._selector.select(_TICK_S):
            key.data(events)
        now = time.monotonic()
        if self._heard:
            self.heard_at = now
        elif self._broken is not None:
            raise self._broken
        if now - self._ticked_at >= _TICK_S:
            self._tick(now)
        return self._heard

    def receive(self, message: memoryview) -> bool:
        """Whether this message was for a channel of ours. Raises ``BadPacket``."""
        kind = message[0]
        if not messages.OPEN_CONFIRMATION <= kind <= messages.REQUEST_FAILURE:
            return False
        number = messages.number(message, 1)
        channel = self._channels.get(number)
        if channel is None:
            if number < messages.FIRST_NUMBER:
                return False
            self._late.ignore(number, message)
            return True
        channel.receive(kind, message)
        return True

    def deliver(self) -> None:
        """Before the views of what was received end."""
        marked, self._marked = self._marked, {}
        for flow in marked:
            flow.deliver()

    def end(self) -> None:
        """The link is gone: whoever waits is told, whoever was served is reset."""
        if not self._calls.end():
            return
        self._over = True
        self._marked.clear()
        self._calls.make()
        for lane in self._lanes:
            lane.end()
        self._selector.close()
        self._calls.close()

    # ── for lanes, flows and channels

    def enter(self, channel: Channel) -> int:
        number = self._next_number
        self._next_number += 1
        self._channels[number] = channel
        return number

    def leave(self, number: int, credit: int) -> None:
        del self._channels[number]
        self._late.closed(number, credit)

    def accept_from(self, listener: socket.socket, take: Callable[[socket.socket, Address], None]) -> None:
        if not self._over and listener.fileno() >= 0:
            self._selector.register(listener, selectors.EVENT_READ, lambda events: self._accept(listener, take))

    def accept_no_more(self, listener: socket.socket) -> None:
        if not self._over and listener in self._selector.get_map():
            self._selector.unregister(listener)

    def most_silent(self) -> int:
        """How many connections that say nothing a lane keeps."""
        return self._most_silent

    def watch_readable(self, sock: socket.socket, call: Callable[[int], None]) -> None:
        if not self._over:
            self._selector.register(sock, selectors.EVENT_READ, call)

    def forget(self, sock: socket.socket) -> None:
        if not self._over:
            self._selector.unregister(sock)

    def crowded(self) -> bool:
        """So many channels only are sure of a window, or of their place in select(2)."""
        return self._over or len(self._channels) >= self._most_channels

    def post(self, message: bytes) -> None:
        self._held.append(message)

    def may_send(self) -> bool:
        return self._outbox.queued < _QUEUED_BYTES and self._gate.is_set() and not self._over

    def when_it_may(self, flow: Flow) -> None:
        self._blocked[flow] = None

    def post_what_was_read(self, peer: int, count: int) -> None:
        self._release()
        self._outbox.put_data(peer, self.slots.buffer, count)

    def mark(self, flow: Flow) -> None:
        self._marked[flow] = None

    def watch(self, flow: Flow, sock: socket.socket, before: int, events: int) -> None:
        if self._over:
            return
        if events == 0:
            self._selector.unregister(sock)
        elif before:
            self._selector.modify(sock, events, flow.act)
        else:
            self._selector.register(sock, events, flow.act)

    # ── inside

    def _send(self) -> None:
        """What waits to be sent, and who waits to send."""
        if self._held and self._gate.is_set():
            self._release()
        if self._outbox.queued and self._broken is None:
            try:
                if self._outbox.flush(self._sock):
                    self._moved_at = time.monotonic()
            except OSError as error:  # what the link still has for us is read first
                self._broken = error
        if self._blocked and self.may_send():
            blocked, self._blocked = self._blocked, {}
            for flow in blocked:
                flow.update()
        events = _READ_AND_WRITE if self._outbox.queued and self._broken is None else selectors.EVENT_READ
        if events != self._link_events:
            self._link_events = events
            self._selector.modify(self._sock, events, self._move_link)

    def _release(self) -> None:
        if self._held:
            self._outbox.put(self._held)
            self._held.clear()

    def _move_link(self, events: int) -> None:
        if events & selectors.EVENT_READ:
            self._inbox.fill(self._sock)
            self._heard = True

    def _accept(self, listener: socket.socket, take: Callable[[socket.socket, Address], None]) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, came_from = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:  # no descriptor is left: asking again at once would keep the loop busy
                self._selector.unregister(listener)
                self._later.append(lambda: self.accept_from(listener, take))
                return
            sock.setblocking(False)
            try:  # noqa: SIM105  # suppress costs three calls, for each connection
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:  # macOS: EINVAL when the client has left, which reading will tell
                pass
            take(sock, came_from[:2])

    def _tick(self, now: float) -> None:
        self._ticked_at = now
        later, self._later = self._later, []
        for call in later:
            call()
        self._lanes = [lane for lane in self._lanes if not lane.is_over]
        for lane in self._lanes:
            lane.tick(now)
        if not self._outbox.queued:
            self._moved_at = now
        elif now - self._moved_at > _STALL_S:
            raise BadPacket("the link takes no more data")
