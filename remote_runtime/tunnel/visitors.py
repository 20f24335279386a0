"""Who comes to a local port, counted by what they said: browsers that are not allowed to speak come and say nothing.

Chromium opens the TCP connection first and asks for the permission then. When it is denied, a WebSocket's connection
closes without a byte, and a fetch's stays open for a while without one.
"""

from __future__ import annotations

import socket
import threading
from typing import Literal

from ..figures import Traffic
from ..model import Connections

Address = tuple[str, int]


class Visitors:
    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._ours: set[Address] = set()
        self._counts = {"carried": 0, "empty": 0, "waiting": 0}
        self._sent = self._received = 0

    def counted(self) -> Connections:
        """Without those that came through ``ourselves``."""
        with self._lock:
            return Connections(**self._counts)

    def traffic(self) -> Traffic:
        """Of the same visitors."""
        with self._lock:
            return Traffic(self._sent, self._received)

    def carried(self, sent: int, received: int) -> None:
        with self._lock:
            self._sent += sent
            self._received += received

    def ourselves(self, timeout_s: float) -> socket.socket:
        """A connection to the port that is not counted. Raises ``OSError``."""
        connection = socket.socket()
        at: Address | None = None
        try:
            connection.settimeout(timeout_s)
            # Bound before it connects: it is known before it can be accepted.
            connection.bind(("127.0.0.1", 0))
            at = connection.getsockname()
            with self._lock:
                self._ours.add(at)
            connection.connect(("127.0.0.1", self._port))
        except BaseException:
            connection.close()
            if at is not None:
                with self._lock:
                    self._ours.discard(at)
            raise
        return connection

    def expect(self, port: int) -> None:
        """A connection that is about to come from this port here is not counted."""
        with self._lock:
            self._ours.add(("127.0.0.1", port))

    def visit(self, came_from: Address) -> Visit:
        """One accepted connection; somebody has to ``end`` it."""
        with self._lock:
            is_ours = came_from in self._ours
            self._ours.discard(came_from)
        return Visit(self, counts=not is_ours)

    def move(self, into: Literal["carried", "empty", "waiting"] | None, *, wait: int) -> None:
        with self._lock:
            self._counts["waiting"] += wait
            if into is not None:
                self._counts[into] += 1


class Visit:
    """Waits until its client speaks, leaves, or is sent away."""

    def __init__(self, visitors: Visitors, *, counts: bool) -> None:
        self._visitors = visitors
        self._waits = self._counts = counts
        if counts:
            visitors.move(None, wait=1)

    def speaks(self) -> None:
        self._settle("carried")

    def carries(self, sent: int, received: int) -> None:
        """So many bytes to the machine, and so many back."""
        if self._counts:
            self._visitors.carried(sent, received)

    def leaves(self) -> None:
        """By itself; without a word if it has not spoken."""
        self._settle("empty")

    def end(self) -> None:
        self._settle(None)

    def _settle(self, into: Literal["carried", "empty"] | None) -> None:
        if self._waits:
            self._waits = False
            self._visitors.move(into, wait=-1)
