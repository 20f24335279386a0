"""Detects a relay that no longer responds, by WebSocket pings."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable

from ...core.fast_dataclass import fast_dataclass
from .websocket import ConnectionLost, WebSocketConnection


@fast_dataclass(frozen=True)
class RelayTimeouts:
    """``silent_s``: without a byte from the relay while it owes a reply; it is pinged after half of that. ``idle_s``:
    without a byte while it owes none, before it is pinged. ``attempt_s``: for one attempt to resume. ``resume_s``: for
    all of them. ``acknowledge_after_s``: idle time after which any bytes are acknowledged."""

    silent_s: float = 10.0
    idle_s: float = 20.0
    attempt_s: float = 10.0
    resume_s: float = 120.0
    acknowledge_after_s: float = 0.2


class SocketSelector:
    """Selects among sockets whose events change."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._events: dict[socket.socket, int] = {}

    def set(self, sock: socket.socket, *, read: bool, write: bool) -> None:
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        before = self._events.get(sock, 0)
        if events == before:
            return
        self._events[sock] = events
        if not before:
            self._selector.register(sock, events)
        elif events:
            self._selector.modify(sock, events)
        else:
            self._selector.unregister(sock)

    def wait(self, seconds: float) -> bool:
        return bool(self._selector.select(seconds))


class RelayKeepalive:
    """Pings a silent relay. It owes a reply if data was sent since its last bytes, or if it has ever answered a
    ping."""

    def __init__(
        self, connection: WebSocketConnection, timeouts: RelayTimeouts, has_unacknowledged: Callable[[], bool]
    ) -> None:
        """``has_unacknowledged``: True while sent data are not acknowledged: pings sooner then, though no reply may
        be owed."""
        self._connection = connection
        self._has_unacknowledged = has_unacknowledged
        self._half_s = timeouts.silent_s / 2
        self._idle_s = timeouts.idle_s
        self._sent_at = 0.0
        self._listening_since = time.monotonic()
        self._pinged_at: float | None = None
        connection.ping()

    def on_sent(self) -> None:
        self._sent_at = time.monotonic()

    def not_listening(self) -> None:
        """Its silence does not count until now: the socket was not read."""
        self._listening_since = time.monotonic()
        self._pinged_at = None

    def due_in_s(self) -> float:
        return max(0.0, self._due() - time.monotonic())

    def check(self) -> None:
        """Raises ``ConnectionLost``."""
        if self._pinged_at is not None and self._connection.last_received_at > self._pinged_at:
            self._pinged_at = None
        now = time.monotonic()
        if now < self._due():
            return
        if self._pinged_at is None:
            self._connection.ping()
            self._pinged_at = now
        elif self._reply_due() or self._connection.answers_pings:
            raise ConnectionLost(f"nothing was received for {now - self._last_received_at():.0f} s")
        else:
            self._pinged_at = now

    def _due(self) -> float:
        if self._pinged_at is not None:
            return self._pinged_at + self._half_s
        return self._last_received_at() + (
            self._half_s if self._reply_due() or self._has_unacknowledged() else self._idle_s
        )

    def _last_received_at(self) -> float:
        return max(self._connection.last_received_at, self._listening_since)

    def _reply_due(self) -> bool:
        return self._sent_at > self._last_received_at()
