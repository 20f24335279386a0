"""Additional SSH connections to the same machine, while one would have too many channels.

For every packet sshd examines each channel of its connection, about 2 microseconds each (measured with OpenSSH 9.2):
beside a thousand idle channels a keystroke is answered ten times later. Beyond 32 long-lived channels, further ones use
an additional SSH connection, opened only if no prompt is needed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from ..tunnel.identity import ServerIdentity
from .forwarder.channel_pool import ChannelPool
from .forwarder.client import Client
from .forwarder.extra_capacity import MAX_ACTIVE_PER_CONNECTION
from .forwarder.loop import Loop
from .forwarder.timers import Alarm

log = logging.getLogger(__name__)
MAX_CONNECTIONS = 32
_MAX_OPENING_S = 1.0
_CAPACITY_CHECK_S = 0.5
_MAX_UNUSED_CHECKS = 20
_JOIN_TIMEOUT_S = 2.0


class ExtraSession(Protocol):
    """An additional connection. See ``session.Session``."""

    @property
    def closed(self) -> bool: ...
    @property
    def connection_count(self) -> int: ...
    def local_channel_pool(
        self, host: str, port: int, *, identity: ServerIdentity | None, keep_ready: bool
    ) -> ChannelPool: ...
    def check(self, within_s: float) -> float: ...
    def close(self) -> None: ...


class ExtraConnections:
    """The additional connections of the session that has ``loop``. ``log_in`` logs in once more without a prompt;
    after a failure it is not tried again (``available``). ``check_every_s``: how often each connection is checked.
    ``login_s``: limit for a login."""

    def __init__(
        self, loop: Loop, log_in: Callable[[Deadline], ExtraSession], check_every_s: float, login_s: float
    ) -> None:
        self.sessions: tuple[ExtraSession, ...] = ()
        self._loop = loop
        self._log_in = log_in
        self._check_every_s = check_every_s
        self._login_s = login_s
        self._used_at: dict[ExtraSession, float] = {}
        self._capacity_alarm = Alarm(loop.call_later, self._check_capacity)
        self._requested = threading.Event()
        self._requested_at = 0.0
        self._closing = threading.Event()
        self.available = True
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def is_opening(self) -> bool:
        """Open a connection if needed; whether one is being opened, not for long yet."""
        self.ensure_capacity()
        return self._requested.is_set() and time.monotonic() - self._requested_at < _MAX_OPENING_S

    def on_client(self) -> None:
        """Once the new connections count as long-lived, open a further SSH connection if it will soon be needed."""
        if _is_nearly_full(self._loop.connection_count):
            self._capacity_alarm.set(_CAPACITY_CHECK_S)

    def _check_capacity(self) -> None:
        if _is_nearly_full(self._loop.long_lived_count()):
            self.ensure_capacity()
        else:
            self.on_client()  # the newest do not count yet

    def ensure_capacity(self) -> None:
        """Open a connection in the background unless one has much capacity."""
        if self._requested.is_set() or not self.available or len(self.sessions) >= MAX_CONNECTIONS - 1:
            return
        if any(2 * each.connection_count <= MAX_ACTIVE_PER_CONNECTION for each in self.sessions if not each.closed):
            return
        with self._lock:
            if self._closing.is_set():
                return
            self._requested_at = time.monotonic()
            self._requested.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="extra SSH connections")
                self._thread.start()

    def close(self) -> None:
        """Close all additional connections."""
        with self._lock:
            self._closing.set()
            self._requested.set()
        if self._thread is not None:
            self._thread.join(_JOIN_TIMEOUT_S)
        for session in self.sessions:
            session.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._requested.wait(self._check_every_s):
                self._open()
            else:
                self._check_all()

    def _open(self) -> None:
        started_at = time.monotonic()
        try:
            session = self._log_in(Deadline(self._login_s, self._closing))
        except RemoteRuntimeError as error:
            log.info("no further connection: %s", error)
            self.available = False
        else:
            log.info("a further connection, within %.1f s, for many channels", time.monotonic() - started_at)
            with self._lock:
                if self._closing.is_set():
                    session.close()
                    return
                self._used_at[session] = time.monotonic()
                self.sessions = (*self.sessions, session)
        if not self._closing.is_set():
            self._requested.clear()
        self._loop.refill()

    def _check_all(self) -> None:
        now = time.monotonic()
        for session in self.sessions:
            if session.connection_count:
                self._used_at[session] = now
            if (
                session.closed
                or now - self._used_at[session] > _MAX_UNUSED_CHECKS * self._check_every_s
                or not self._is_alive(session)
            ):
                session.close()
                del self._used_at[session]
                self.sessions = tuple(each for each in self.sessions if each is not session)

    def _is_alive(self, session: ExtraSession) -> bool:
        try:
            session.check(2 * self._check_every_s)
        except RemoteRuntimeError as error:
            log.info("one of the connections for many channels is lost: %s", error)
            return False
        return True


def _is_nearly_full(count: int) -> bool:
    return 4 * count >= 3 * MAX_ACTIVE_PER_CONNECTION


class PoolOverflow:
    """The pools on additional connections for one pool. ``open_pool`` opens one like it on a connection."""

    def __init__(self, connections: ExtraConnections, open_pool: Callable[[ExtraSession], ChannelPool]) -> None:
        self.is_opening = connections.is_opening
        self.on_client = connections.on_client
        self._connections = connections
        self._open_pool = open_pool
        self._pools: dict[ExtraSession, ChannelPool] = {}

    @property
    def available(self) -> bool:
        return self._connections.available

    def adopt(self, client: Client) -> bool:
        for session in self._connections.sessions:
            if session.connection_count < MAX_ACTIVE_PER_CONNECTION and not session.closed:
                return self._pool_of(session).adopt(client)
        return False

    def close(self, *, reset: bool) -> None:
        for pool in self._pools.values():
            pool.close_soon(reset=reset)

    def _pool_of(self, session: ExtraSession) -> ChannelPool:
        pool = self._pools.get(session)
        if pool is None:
            self._pools = {each: known for each, known in self._pools.items() if not each.closed}
            pool = self._pools[session] = self._open_pool(session)
        return pool
