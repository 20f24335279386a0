"""What the passage's thread waits for: its two sockets, and the moment when the relay has been silent for too long."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable

from ...core.frozen import dataclass
from .websocket import Broken, Wire


@dataclass(frozen=True)
class Limits:
    """``silent_s``: how long nothing may be heard while something of ours waits for an answer; after half of it the
    relay is asked. ``idle_s``: how long nothing may be heard before it is asked although nothing waits. ``attempt_s``:
    for one connection that resumes it. ``resume_s``: for all attempts to resume. ``acknowledge_after_s``: what few
    bytes have come are acknowledged when nothing happened for so long."""

    silent_s: float = 10.0
    idle_s: float = 20.0
    attempt_s: float = 10.0
    resume_s: float = 120.0
    acknowledge_after_s: float = 0.2


class Watched:
    """A selector with sockets that come and go."""

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


class Pulse:
    """Whether the relay still answers: it is asked when it is silent, and it owes an answer if something of ours is
    under way, or if it has ever answered such a question."""

    def __init__(self, wire: Wire, limits: Limits, waits: Callable[[], bool]) -> None:
        """``waits``: whether bytes of ours are not confirmed; then it is asked sooner, though it may owe nothing."""
        self._wire = wire
        self._waits = waits
        self._half_s = limits.silent_s / 2
        self._idle_s = limits.idle_s
        self._said_at = 0.0
        self._quiet_since = time.monotonic()
        self._asked_at: float | None = None
        wire.ping()

    def said(self) -> None:
        self._said_at = time.monotonic()

    def deaf(self) -> None:
        """Nobody listened to it for a while."""
        self._quiet_since = time.monotonic()
        self._asked_at = None

    def due_in_s(self) -> float:
        return max(0.0, self._due() - time.monotonic())

    def check(self) -> None:
        """Raises ``Broken``."""
        if self._asked_at is not None and self._wire.heard_at > self._asked_at:
            self._asked_at = None
        now = time.monotonic()
        if now < self._due():
            return
        if self._asked_at is None:
            self._wire.ping()
            self._asked_at = now
        elif self._owes() or self._wire.answers_pings:
            raise Broken(f"nothing was heard for {now - self._heard_at():.0f} s")
        else:
            self._asked_at = now

    def _due(self) -> float:
        if self._asked_at is not None:
            return self._asked_at + self._half_s
        return self._heard_at() + (self._half_s if self._owes() or self._waits() else self._idle_s)

    def _heard_at(self) -> float:
        return max(self._wire.heard_at, self._quiet_since)

    def _owes(self) -> bool:
        return self._said_at > self._heard_at()
