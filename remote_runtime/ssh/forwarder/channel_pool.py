"""Forwards local connections to one remote port, each over an SSH channel of its own.

Opening a channel costs a round trip, and checking the server's identity another. A page opens connections in bursts, so
idle channels are opened and checked in advance, as many as were recently needed at once.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from ...core.errors import RemoteRuntimeError
from ...core.model import format_address
from ...tunnel.connection_stats import Address
from ...tunnel.identity import ServerIdentity
from ...tunnel.protocols import ConnectionHandler
from ...tunnel.rate_limited_log import RateLimitedLog
from ...tunnel.silent_connections import OldestFirst
from .client import Client, SilentClients
from .connection import ChannelTimeouts, ForwardedConnection
from .extra_capacity import MAX_ACTIVE_PER_CONNECTION, ExtraCapacity
from .idle_channels import IdleChannelCount
from .listeners import Listeners
from .loop import Loop
from .timers import Alarm

log = logging.getLogger(__name__)
_LONG_LIVED_S = 0.1
_REFILL_S = 0.5
_RETRY_S = 1.0
_MAX_RETRY_S = 30.0
_MAX_OPENING = 256
_RETRIES = 2
_CLOSE_TIMEOUT_S = 2.0


class ChannelPool:
    """``forward``, ``adopt``, ``listen``, ``drain``, ``close`` are for any thread, the rest is for the loop's.

    ``open_error(reason, text)`` and ``lost_error()`` build the exceptions. ``identity``: None to skip the check.
    ``keep_ready``: keep idle channels open; not for protocols in which the server speaks first, or that end an idle
    connection. ``overflow``: further SSH connections for when this one has many channels.
    """

    def __init__(
        self,
        loop: Loop,
        host: str,
        port: int,
        *,
        identity: ServerIdentity | None,
        keep_ready: bool,
        open_error: Callable[[int, str], RemoteRuntimeError],
        lost_error: Callable[[], RemoteRuntimeError],
        overflow: ExtraCapacity | None = None,
        timeouts: ChannelTimeouts | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.timeouts = timeouts or ChannelTimeouts()
        self.closed = False
        self._loop = loop
        self._identity = identity
        self._retries = _RETRIES if keep_ready else 0
        self.open_error = open_error
        self._lost_error = lost_error
        self._overflow = overflow
        self._listeners = Listeners(loop, self._add_client, self._retries)
        self._connections: set[ForwardedConnection] = set()
        self._ready: deque[ForwardedConnection] = deque()
        self._silent_clients = SilentClients(loop, self._assign)
        self._silent_channels = OldestFirst[Client](2 * loop.max_silent, Client.is_silent)
        self._waiting: deque[Client] = deque()
        self._opening: set[ForwardedConnection] = set()
        self._idle_count = IdleChannelCount(loop, self.timeouts.idle_s, self._close_spare, enabled=keep_ready)
        self._refill_alarm = Alarm(loop.call_later, self.refill)
        self._retry_s = _RETRY_S
        self._retry_at = 0.0
        self._rate_limited_log = RateLimitedLog(log)
        loop.add_pool(self)
        loop.call_soon(self._start)

    def forward(self, sock: socket.socket, handler: ConnectionHandler) -> None:
        """See ``tunnel.protocols.Forwarder``."""
        client = Client(sock, handler, self._retries)
        if not self._loop.call_soon(lambda: self._add_client(client)):
            client.return_with_error(self._lost_error())

    def adopt(self, client: Client) -> bool:
        """Take a client over from another pool. Returns False if the SSH connection is lost."""
        return self._loop.call_soon(lambda: self._assign(client))

    def listen(
        self,
        listeners: Sequence[socket.socket],
        new_handler: Callable[[Address], ConnectionHandler],
        on_stopped: Callable[[], None],
    ) -> None:
        """See ``tunnel.protocols.Forwarder``."""
        self._listeners.listen(listeners, new_handler, on_stopped)

    def close(self) -> None:
        """Reset all connections and refuse further ones. Waits until the ports are free."""
        done = threading.Event()
        if self.close_soon(reset=True, on_closed=done.set):
            done.wait(_CLOSE_TIMEOUT_S)

    def drain(self) -> None:
        """Refuse further connections; the open ones stay."""
        self.close_soon(reset=False)

    def close_soon(self, *, reset: bool, on_closed: Callable[[], None] = lambda: None) -> bool:
        """``close``, or without ``reset`` ``drain``, without waiting. Returns False if the loop has ended."""
        self.closed = True

        def close_now() -> None:
            self.close_now(reset=reset)
            on_closed()

        return self._loop.call_soon(close_now)

    # ── in the loop's thread

    @property
    def is_finished(self) -> bool:
        return self.closed and not self._connections

    @property
    def connection_count(self) -> int:
        """How many connections have a channel, or have one being opened."""
        return len(self._connections) - len(self._ready)

    def long_lived_count(self, now: float) -> int:
        """How many of them have had it for ``_LONG_LIVED_S`` or more."""
        return sum(not each.is_ready and now - each.state_since > _LONG_LIVED_S for each in self._connections)

    def close_now(self, *, reset: bool = True) -> None:
        self.closed = True
        self._listeners.stop()
        self._idle_count.stop()
        if self._overflow is not None:
            self._overflow.close(reset=reset)
        self._silent_clients.reset_all()
        waiting, self._waiting = self._waiting, deque()
        for client in waiting:
            client.return_with_error(self._lost_error())
        for connection in list(self._connections):
            if reset or connection.client is None:
                connection.abort()

    def _start(self) -> None:
        if not self.closed:
            self._idle_count.start()
            self.refill()

    def _close_spare(self) -> None:
        while len(self._ready) > self._idle_count.wanted:
            self._ready.popleft().abort()

    def refill(self) -> None:
        """Open channels for waiting clients and idle ones in advance, within the limits; what is not possible now is
        tried again in ``_REFILL_S``."""
        if self.closed:
            return
        wanted, spare = len(self._waiting), self._idle_count.wanted - len(self._ready)
        if spare > 0 and time.monotonic() >= self._retry_at:
            wanted += spare
        self._open_channels(wanted)
        if len(self._opening) < max(wanted, len(self._waiting) + spare):
            self._refill_alarm.set(_REFILL_S if self._waiting else max(_REFILL_S, self._retry_at - time.monotonic()))

    def _open_channels(self, needed: int) -> None:
        if len(self._opening) >= needed:
            return
        needed = min(needed, self._max_opening())
        while len(self._opening) < needed and not self._loop.at_capacity():
            connection = ForwardedConnection(self._loop, self, self._identity.new_check() if self._identity else None)
            self._connections.add(connection)
            self._opening.add(connection)

    def _max_opening(self) -> int:
        """Limit for opening channels here: 0 while another connection has, or will soon have, capacity."""
        overflow = self._overflow
        if overflow is None or not overflow.available or self._loop.long_lived_count() < MAX_ACTIVE_PER_CONNECTION:
            return _MAX_OPENING
        while len(self._waiting) > len(self._opening):
            if not overflow.adopt(self._waiting[-1]):
                return 0 if overflow.is_opening() else min(_MAX_OPENING, len(self._waiting))
            self._waiting.pop()
        return 0

    def _add_client(self, client: Client) -> None:
        if self._identity is not None and not self.closed:
            self._silent_clients.add(client)
            return
        self._assign(client)
        oldest = self._silent_channels.add(client)
        if oldest is not None:
            oldest.handler.on_over_limit(files=False)
            oldest.shut_down()

    def _assign(self, client: Client) -> None:
        if self.closed:
            client.return_with_error(self._lost_error())
            return
        if self._loop.at_capacity():
            client.handler.on_over_limit(files=False)
            client.reset()
            return
        self._idle_count.on_client()
        if self._overflow is not None:
            self._overflow.on_client()
        while self._ready:
            connection = self._ready.pop()  # the newest: the server is least likely to have closed it
            if connection.is_ready:
                connection.attach(client)
                self._refill_if_low()
                return
        self._idle_count.on_exhausted()
        self._waiting.append(client)
        self.refill()

    def _refill_if_low(self) -> None:
        """Open several at once, else wait for ``_REFILL_S``: a server does not answer while it opens a channel."""
        if self._waiting or 2 * len(self._ready) < self._idle_count.wanted:
            self.refill()
        elif len(self._ready) < self._idle_count.wanted:
            self._refill_alarm.set(_REFILL_S)

    # ── called by the connections

    def on_ready(self, connection: ForwardedConnection) -> None:
        self._opening.discard(connection)
        self._retry_s, self._retry_at = _RETRY_S, 0.0
        if self._waiting:
            connection.attach(self._waiting.popleft())
        elif len(self._ready) < self._idle_count.wanted:
            self._ready.append(connection)
        else:
            connection.abort()

    def on_failed(self, connection: ForwardedConnection, error: RemoteRuntimeError) -> None:
        """Report the error to the client that waits longest. Idle channels are retried with exponential backoff, and
        not logged: when the server ends, all of them fail at once."""
        self._opening.discard(connection)
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(_MAX_RETRY_S, 2 * self._retry_s)
        if self._waiting:
            self._rate_limited_log(f"no connection to {format_address(self.host, self.port)}", error)
            self._waiting.popleft().return_with_error(error)
        self.refill()

    def on_stale(self, client: Client) -> None:
        """Give the client a newly opened channel; the idle ones may be stale too."""
        if self.closed:
            client.return_with_error(self._lost_error())
            return
        self._waiting.appendleft(client)
        self.refill()

    def on_closed(self, connection: ForwardedConnection) -> None:
        self._connections.discard(connection)
        self._opening.discard(connection)
        if connection in self._ready:
            self._ready.remove(connection)
        self._refill_if_low()
