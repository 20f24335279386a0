"""The connections to one port of the machine, and the channels kept ready for those to come.

Opening a channel costs a round trip, and proving who listens another. A page opens connections in bursts, so some
channels are opened and proved in advance, as many as were lately needed at once.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from ...core.errors import RemoteRuntimeError
from ...core.model import named
from ...tunnel.open_files import is_among_the_last
from ...tunnel.rate_limited_log import Seldom
from .client import Address, Client, Guest, Proof
from .connection import Flow
from .listener import Listener
from .protocols import Host, Relief
from .silent_connections import Quiet, Silent

log = logging.getLogger(__name__)
FEWEST_READY = 6  # as many as a browser opens at once
MOST_READY = 32
SWIFT = 32  # connections that last, of one link, before a delay is noticed: sshd looks at each for every packet
_LASTING_S = 0.1
_IDLE_S = 300.0
_FEWER_AFTER_S = 10.0
_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
_MOST_OPENING = 256
_CHANCES = 2
_CLOSING_S = 2.0


class Lane:
    """``carry``, ``take_over``, ``serve``, ``rest``, ``close`` are for any thread, everything else is for the loop's.

    ``explain`` makes an error of a refused channel, ``lost`` of a link that is gone. ``prove``: None where nothing has
    to be proved. ``keep_ready``: not for servers that speak first, or mind a connection that says nothing. ``relief``:
    who takes connections over when the link serves many.
    """

    def __init__(
        self,
        loop: Host,
        host: str,
        port: int,
        *,
        prove: Callable[[], Proof] | None,
        keep_ready: bool,
        explain: Callable[[int, str], RemoteRuntimeError],
        lost: Callable[[], RemoteRuntimeError],
        relief: Relief | None,
    ) -> None:
        self.host = host
        self.port = port
        self.closed = False
        self._loop = loop
        self._prove = prove
        self._keeps_ready = keep_ready
        self._chances = _CHANCES if keep_ready else 0
        self._explain = explain
        self._lost = lost
        self._relief = relief
        self._listeners: list[socket.socket] = []
        self._flows: set[Flow] = set()
        self._ready: deque[Flow] = deque()
        self._silent = Silent(loop, self._admit)
        self._quiet = Quiet(2 * loop.most_silent())
        self._waiting: deque[Client] = deque()
        self._opening: set[Flow] = set()
        self._wanted = FEWEST_READY if keep_ready else 0
        self._used_at = self._short_at = time.monotonic()
        self._retry_s = _RETRY_S
        self._retry_at = 0.0
        self._seldom = Seldom(log)
        loop.call_soon(self.refill)

    def carry(self, sock: socket.socket, guest: Guest) -> None:
        """Lead this connection to the machine. See ``Client``."""
        client = Client(sock, guest, self._chances)
        if not self._loop.call_soon(lambda: self._take(client)):
            client.refuse(self._lost())

    def take_over(self, client: Client) -> bool:
        """From another lane. False when the link is gone."""
        return self._loop.call_soon(lambda: self._admit(client))

    def serve(self, listeners: Sequence[socket.socket], receive: Callable[[Address], Guest]) -> None:
        """Accept connections from these and carry them, until ``closed``. The caller's ``listeners`` stay open."""
        own = [Listener(listener) for listener in listeners]

        def take(sock: socket.socket, came_from: Address) -> None:
            client = Client(sock, receive(came_from), self._chances)
            if is_among_the_last(sock.fileno()) and not client.guest.is_ours:
                client.guest.crowded_out(files=True)
                client.reset()
            else:
                self._take(client)

        def listen() -> None:
            for listener in own:
                self._listeners.append(listener)
                self._loop.accept_from(listener, take)
            if self.closed:
                self._listen_no_more()

        if not self._loop.call_soon(listen):
            self.closed = True
            for listener in own:
                listener.close()

    def close(self) -> None:
        """Reset all its connections. The next ones are refused."""
        self.closed = True
        done = threading.Event()

        def end() -> None:
            self.end()
            done.set()

        if self._loop.call_soon(end):
            done.wait(_CLOSING_S)  # so that the ports are free afterwards

    def end_soon(self, *, reset: bool) -> None:
        """``close``, without waiting for it; without ``reset``, as ``rest``."""
        self.closed = True
        self._loop.call_soon(lambda: self.end(reset=reset))

    def rest(self) -> None:
        """Carry on what is carried, and nothing more."""
        self.end_soon(reset=False)

    # ── in the loop's thread

    @property
    def is_over(self) -> bool:
        return self.closed and not self._flows

    @property
    def carried(self) -> int:
        """How many connections have a channel, or will in a moment."""
        return len(self._flows) - len(self._ready)

    def lasting(self, now: float) -> int:
        """How many of them have it for a while."""
        return sum(not flow.is_ready and now - flow.since > _LASTING_S for flow in self._flows)

    def end(self, *, reset: bool = True) -> None:
        self.closed = True
        self._listen_no_more()
        if self._relief is not None:
            self._relief.end(reset=reset)
        self._silent.end()
        for client in self._take_all_waiting():
            client.refuse(self._lost())
        for flow in list(self._flows):
            if reset or flow.client is None:
                flow.end()

    def tick(self, now: float) -> None:
        """About once a second."""
        for flow in list(self._flows):
            flow.check(now)
        if now - self._used_at > _IDLE_S:
            self._wanted = 0
        elif now - self._short_at > _FEWER_AFTER_S and self._wanted > FEWEST_READY:
            self._wanted = max(FEWEST_READY, self._wanted // 2)
            self._short_at = now
        while len(self._ready) > self._wanted:
            self._ready.popleft().end()
        if self._relief is not None and 4 * self._loop.lasting() >= 3 * SWIFT:
            self._relief.prepare()
        self.refill()

    def refill(self) -> None:
        """Open what is needed, as far as it may be open."""
        if self.closed:
            return
        needed, spare = len(self._waiting), self._wanted - len(self._ready)
        if spare > 0 and time.monotonic() >= self._retry_at:
            needed += spare
        if len(self._opening) >= needed:
            return
        needed = min(needed, self._most_opening())
        while len(self._opening) < needed and not self._loop.crowded():
            flow = Flow(self._loop, self, self._prove() if self._prove else None)
            self._flows.add(flow)
            self._opening.add(flow)

    def _most_opening(self) -> int:
        """Where other links have room, or will soon, this one takes no more than it serves swiftly."""
        relief = self._relief
        if relief is None or not relief.helps or self._loop.lasting() < SWIFT:
            return _MOST_OPENING
        while len(self._waiting) > len(self._opening):
            lane = relief.lane()
            if lane is None or not lane.take_over(self._waiting[-1]):
                return 0 if relief.is_near() else min(_MOST_OPENING, len(self._waiting))
            self._waiting.pop()
        return 0

    def _take(self, client: Client) -> None:
        if self._prove is not None and not self.closed:
            self._silent.add(client)
            return
        self._admit(client)
        self._quiet.add(client)

    def _admit(self, client: Client) -> None:
        if self.closed:
            client.refuse(self._lost())
            return
        if self._loop.crowded():
            client.guest.crowded_out(files=False)
            client.reset()
            return
        self._used_at = time.monotonic()
        if self._keeps_ready:
            self._wanted = self._wanted or FEWEST_READY
        while self._ready:
            flow = self._ready.pop()  # the one that waited shortest is the least likely to be given up
            if flow.is_ready:
                flow.begin(client)
                self._refill_if_low()
                return
        if self._keeps_ready:
            self._short_at = self._used_at
            self._wanted = min(MOST_READY, self._wanted * 2)
        self._waiting.append(client)
        self.refill()

    def _listen_no_more(self) -> None:
        for listener in self._listeners:
            self._loop.accept_no_more(listener)
            listener.close()
        self._listeners.clear()

    def _refill_if_low(self) -> None:
        """Several at once, and else at the next tick: a server that opens one does not answer meanwhile."""
        if self._waiting or 2 * len(self._ready) < self._wanted:
            self.refill()

    def _take_all_waiting(self) -> list[Client]:
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    # ── what its flows tell

    def on_ready(self, flow: Flow) -> None:
        self._opening.discard(flow)
        self._retry_s, self._retry_at = _RETRY_S, 0.0
        if self._waiting:
            flow.begin(self._waiting.popleft())
        elif len(self._ready) < self._wanted:
            self._ready.append(flow)
        else:
            flow.end()

    def on_refused(self, flow: Flow, reason: int, text: str) -> None:
        self.on_failed(flow, self._explain(reason, text))

    def on_failed(self, flow: Flow, error: RemoteRuntimeError) -> None:
        """Whoever has waited longest is told; without anybody waiting, new ones are opened ever more rarely."""
        self._opening.discard(flow)
        self._seldom(f"no connection to {named(self.host, self.port)}", error)
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(_LONGEST_RETRY_S, 2 * self._retry_s)
        if self._waiting:
            self._waiting.popleft().refuse(error)
        self.refill()

    def on_stale(self, client: Client) -> None:
        """It gets the next channel that is proved from now on, none of those that wait."""
        if self.closed:
            client.refuse(self._lost())
            return
        self._waiting.appendleft(client)
        self.refill()

    def on_over(self, flow: Flow) -> None:
        self._flows.discard(flow)
        self._opening.discard(flow)
        if flow in self._ready:
            self._ready.remove(flow)
        self._refill_if_low()
