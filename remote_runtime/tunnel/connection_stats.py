"""Who comes to a local port, counted by what they said: browsers that are not allowed to speak come and say nothing.

Chromium opens the TCP connection first and asks for the permission then. When it is denied, a WebSocket's connection
closes without a byte, and a fetch's stays open for a while without one.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from typing import Literal

from ..core.metrics import Traffic
from ..core.model import Connections

Address = tuple[str, int]
TLS_HANDSHAKE = b"\x16"  # RFC 8446 5.1: what https begins with


class Visitors:
    """``http``: the port speaks that, and not TLS."""

    def __init__(self, port: int, *, http: bool = True) -> None:
        self.http = http
        self._port = port
        self._lock = threading.Lock()
        self._ours: dict[Address, bool] = {}  # whether it waits while there is no way to the machine
        self._here: set[Visit] = set()
        self._counts = {"carried": 0, "empty": 0, "tls": 0, "sent_away": 0, "without_a_file": 0}
        self._sent = self._received = 0

    def counted(self) -> Connections:
        """Without those that came through ``ourselves``."""
        with self._lock:
            counts = Counter(self._counts)
            counts.update(visit.became for visit in tuple(self._here))
        return Connections(**counts)

    def traffic(self) -> Traffic:
        """Of the same visitors."""
        with self._lock:
            sent = self._sent + sum(visit.sent for visit in tuple(self._here))
            received = self._received + sum(visit.received for visit in tuple(self._here))
        return Traffic(sent, received)

    def ourselves(self, timeout_s: float) -> socket.socket:
        """A connection to the port that is not counted, and that does not wait for a way to the machine: whoever opens
        it may be the one who has to restore the way. Raises ``OSError``."""
        connection = socket.socket()
        at: Address | None = None
        try:
            connection.settimeout(timeout_s)
            # Bound before it connects: it is known before it can be accepted.
            connection.bind(("127.0.0.1", 0))
            at = connection.getsockname()
            with self._lock:
                self._ours[at] = False
            connection.connect(("127.0.0.1", self._port))
        except BaseException:
            connection.close()
            if at is not None:
                with self._lock:
                    self._ours.pop(at, None)
            raise
        return connection

    def expect(self, port: int) -> None:
        """A connection that is about to come from this port here is not counted."""
        with self._lock:
            self._ours["127.0.0.1", port] = True

    def visit(self, came_from: Address) -> Visit:
        """One accepted connection; somebody has to ``end`` it."""
        visit = Visit(self)
        if came_from in self._ours:
            visit.is_ours, visit.waits = True, self._ours.pop(came_from)
        else:
            self._here.add(visit)  # which needs no lock, other than to sum up
        return visit

    def end(self, visit: Visit) -> None:
        with self._lock:
            if visit in self._here:
                self._here.remove(visit)
                self._sent += visit.sent
                self._received += visit.received
                if visit.became != "waiting":
                    self._counts[visit.became] += 1


class Visit:
    """Waits until its client speaks, leaves, or is sent away. One thread at a time uses it; others may count it.
    ``waits``: it may wait while there is no way to the machine. ``is_ours``: it is a check of this program's."""

    def __init__(self, visitors: Visitors) -> None:
        self.became: Literal["carried", "empty", "waiting", "tls", "sent_away", "without_a_file"] = "waiting"
        self.sent = self.received = 0
        self.waits = True
        self.is_ours = False
        self._visitors = visitors

    def speaks(self) -> None:
        self.became = "carried"

    def begins(self, word: bytes) -> bool:
        """With this byte. False, and it is not served, where that is TLS to a port that speaks http."""
        if self._visitors.http and word == TLS_HANDSHAKE:
            self.became = "tls"
            return False
        self.speaks()
        return True

    def is_sent_away(self, *, files: bool) -> None:
        """There is no room for it; ``files``: too few may be open."""
        self.became = "without_a_file" if files else "sent_away"

    def carries(self, sent: int, received: int) -> None:
        """So many bytes to the machine, and so many back."""
        self.sent += sent
        self.received += received

    def leaves(self) -> None:
        """By itself; without a word if it has not spoken."""
        if self.became == "waiting":
            self.became = "empty"

    def end(self) -> None:
        self._visitors.end(self)
