"""Counts the connections to a local port by their outcome: a browser without permission connects and sends nothing.

Chromium opens the TCP connection before it asks for permission. If that is denied, a WebSocket's connection closes
without a byte, and a fetch's stays open for a while without one.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

from ..core.metrics import Connections, Traffic

Address = tuple[str, int]
REST_S = 60.0
TLS_HANDSHAKE = b"\x16"  # RFC 8446 5.1: what https begins with


class ConnectionStats:
    """``http``: the port speaks HTTP, so TLS is refused. ``on_use`` is called when a client comes, and none was there
    for ``REST_S``."""

    def __init__(self, port: int, *, http: bool = True, on_use: Callable[[], None] = lambda: None) -> None:
        self.http = http
        self._on_use = on_use
        self._used_at = -REST_S
        self._port = port
        self._lock = threading.Lock()
        self._uncounted: dict[Address, bool] = {}  # whether it may wait while there is no upstream
        self._open: set[ConnectionRecord] = set()
        self._counts = {"carried": 0, "empty": 0, "tls": 0, "sent_away": 0, "without_a_file": 0}
        self._sent = self._received = 0

    @property
    def is_in_use(self) -> bool:
        """Whether a client is connected, or one was within ``REST_S``."""
        return bool(self._open) or time.monotonic() - self._used_at < REST_S

    def counted(self) -> Connections:
        """The number of connections by outcome, without uncounted ones."""
        with self._lock:
            counts = Counter(self._counts)
            counts.update(record.outcome for record in tuple(self._open))
        return Connections(**counts)

    def traffic(self) -> Traffic:
        """The bytes of the same connections."""
        with self._lock:
            sent = self._sent + sum(record.sent for record in tuple(self._open))
            received = self._received + sum(record.received for record in tuple(self._open))
        return Traffic(sent, received)

    def connect_uncounted(self, timeout_s: float) -> socket.socket:
        """A connection to the port that is not counted and does not wait for an upstream, since the caller may be the
        one that has to restore it. Raises ``OSError``."""
        connection = socket.socket()
        at: Address | None = None
        try:
            connection.settimeout(timeout_s)
            # Bound first, so that its address is registered before it can be accepted.
            connection.bind(("127.0.0.1", 0))
            at = connection.getsockname()
            with self._lock:
                self._uncounted[at] = False
            connection.connect(("127.0.0.1", self._port))
        except BaseException:
            connection.close()
            if at is not None:
                with self._lock:
                    self._uncounted.pop(at, None)
            raise
        return connection

    def ignore_from(self, port: int) -> None:
        """Do not count the next connection from this local port."""
        with self._lock:
            self._uncounted["127.0.0.1", port] = True

    def open_record(self, came_from: Address) -> ConnectionRecord:
        """The record of an accepted connection; the caller must ``close`` it."""
        record = ConnectionRecord(self)
        if came_from in self._uncounted:
            record.is_ours, record.may_wait = True, self._uncounted.pop(came_from)
        else:
            is_first = not self.is_in_use
            self._open.add(record)  # atomic; only the sums need the lock
            if is_first:
                self._on_use()
        return record

    def close_record(self, record: ConnectionRecord) -> None:
        with self._lock:
            if record in self._open:
                self._open.remove(record)
                self._used_at = time.monotonic()
                self._sent += record.sent
                self._received += record.received
                if record.outcome != "waiting":
                    self._counts[record.outcome] += 1


class ConnectionRecord:
    """``outcome``: "waiting" until the client sends its first byte, closes, or is rejected. ``may_wait``: while there
    is no upstream. ``is_ours``: it is a health check of this program. Used by one thread at a time; others may read
    it."""

    def __init__(self, stats: ConnectionStats) -> None:
        self.outcome: Literal["carried", "empty", "waiting", "tls", "sent_away", "without_a_file"] = "waiting"
        self.sent = self.received = 0
        self.may_wait = True
        self.is_ours = False
        self._stats = stats

    def on_first_bytes(self, first_byte: bytes) -> bool:
        """Returns False, and the client is not served, if it speaks TLS to a port that speaks HTTP."""
        if self._stats.http and first_byte == TLS_HANDSHAKE:
            self.outcome = "tls"
            return False
        self.outcome = "carried"
        return True

    def on_over_limit(self, *, files: bool) -> None:
        """It is reset: too few files can be opened (``files``), or too many connections are open."""
        self.outcome = "without_a_file" if files else "sent_away"

    def on_transfer(self, sent: int, received: int) -> None:
        """Count bytes sent to the machine and received from it."""
        self.sent += sent
        self.received += received

    def on_client_closed(self) -> None:
        """The client has closed the connection."""
        if self.outcome == "waiting":
            self.outcome = "empty"

    def close(self) -> None:
        self._stats.close_record(self)
