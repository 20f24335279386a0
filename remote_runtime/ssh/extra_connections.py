"""More connections to the same machine, while one would carry too many channels.

For every packet sshd looks at each channel of its connection, which takes it about 2 microseconds each (measured with
OpenSSH 9.2): beside a thousand idle channels a keystroke is answered ten times later. So a link carries a few dozen
of them; who comes then is carried by another link, which is opened without a question or not at all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from .forwarder.channel_pool import SWIFT, Lane
from .forwarder.client import Proof
from .forwarder.loop import Loop

log = logging.getLogger(__name__)
MOST_LINKS = 32
_WORTH_WAITING_S = 1.0
_UNUSED_CHECKS = 20
_ENDING_S = 2.0


class Session(Protocol):
    """One more of them. See ``session.Session``."""

    @property
    def closed(self) -> bool: ...
    @property
    def carried(self) -> int: ...
    def own_lane(self, host: str, port: int, *, prove: Callable[[], Proof] | None, keep_ready: bool) -> Lane: ...
    def check(self, within_s: float) -> float: ...
    def close(self) -> None: ...


class Relief:
    """The other links of the session whose loop is ``first``. ``enter`` logs in once more and asks nobody; where it
    fails once it is not tried again (``helps``). ``every_s``: how often each link is asked whether it lives.
    ``login_s``: for one more login."""

    def __init__(self, first: Loop, enter: Callable[[Deadline], Session], every_s: float, login_s: float) -> None:
        self.sessions: tuple[Session, ...] = ()
        self._first = first
        self._enter = enter
        self._every_s = every_s
        self._login_s = login_s
        self._used_at: dict[Session, float] = {}
        self._wanted = threading.Event()
        self._wanted_since = 0.0
        self._closing = threading.Event()
        self.helps = True
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def is_near(self) -> bool:
        """Whether a link is being opened, and was not for long yet."""
        self.prepare()
        return self._wanted.is_set() and time.monotonic() - self._wanted_since < _WORTH_WAITING_S

    def prepare(self) -> None:
        """Let a link be opened unless there is one with much room."""
        if self._wanted.is_set() or not self.helps or len(self.sessions) >= MOST_LINKS - 1:
            return
        if any(2 * session.carried <= SWIFT for session in self.sessions if not session.closed):
            return
        with self._lock:
            if self._closing.is_set():
                return
            self._wanted_since = time.monotonic()
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="relief")
                self._thread.start()

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            self._closing.set()
            self._wanted.set()
        if self._thread is not None:
            self._thread.join(_ENDING_S)
        for session in self.sessions:
            session.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._wanted.wait(self._every_s):
                self._open()
            else:
                self._look_after()

    def _open(self) -> None:
        began = time.monotonic()
        try:
            session = self._enter(Deadline(self._login_s, self._closing))
        except RemoteRuntimeError as error:
            log.info("no further connection: %s", error)
            self.helps = False
        else:
            log.info("a further connection, within %.1f s, for many channels", time.monotonic() - began)
            with self._lock:
                if self._closing.is_set():
                    session.close()
                    return
                self._used_at[session] = time.monotonic()
                self.sessions = (*self.sessions, session)
        if not self._closing.is_set():
            self._wanted.clear()
        self._first.refill()

    def _look_after(self) -> None:
        now = time.monotonic()
        for session in self.sessions:
            if session.carried:
                self._used_at[session] = now
            if (
                session.closed
                or now - self._used_at[session] > _UNUSED_CHECKS * self._every_s
                or not self._lives(session)
            ):
                session.close()
                del self._used_at[session]
                self.sessions = tuple(each for each in self.sessions if each is not session)

    def _lives(self, session: Session) -> bool:
        try:
            session.check(2 * self._every_s)
        except RemoteRuntimeError as error:
            log.info("one of the connections for many channels is lost: %s", error)
            return False
        return True


class Side:
    """What relieves one lane, to ``host``:``port``. See ``engine.lane.Relief``, and ``Lane`` for the rest."""

    def __init__(
        self, relief: Relief, host: str, port: int, *, prove: Callable[[], Proof] | None, keep_ready: bool
    ) -> None:
        self.is_near = relief.is_near
        self.prepare = relief.prepare
        self._relief = relief
        self._at = host, port
        self._prove = prove
        self._keep_ready = keep_ready
        self._lanes: dict[Session, Lane] = {}

    @property
    def helps(self) -> bool:
        return self._relief.helps

    def lane(self) -> Lane | None:
        for session in self._relief.sessions:
            if session.carried < SWIFT and not session.closed:
                return self._lane(session)
        return None

    def end(self, *, reset: bool) -> None:
        for lane in self._lanes.values():
            lane.end_soon(reset=reset)

    def _lane(self, session: Session) -> Lane:
        lane = self._lanes.get(session)
        if lane is None:
            self._lanes = {each: known for each, known in self._lanes.items() if not each.closed}
            lane = self._lanes[session] = session.own_lane(*self._at, prove=self._prove, keep_ready=self._keep_ready)
        return lane
