"""Checks in a thread, at an interval, that an SSH session is alive, and closes it if it is not."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from ..core.errors import RemoteRuntimeError
from .network_change import TICK_S, NetworkChangeDetector
from .system_changes import SystemChanges


class Checkable(Protocol):
    """``check`` raises ``RemoteRuntimeError`` if nothing is received within ``within_s``. ``silent_s``: for how long
    nothing was received."""

    @property
    def closed(self) -> bool: ...
    @property
    def silent_s(self) -> float: ...
    def check(self, within_s: float) -> float: ...
    def close(self, why: str = ...) -> None: ...


log = logging.getLogger(__name__)
MAX_SILENT_INTERVALS = 3
MAX_DOUBTFUL_S = 3.0


class Keepalive:
    """Closes the session if nothing was received for ``MAX_SILENT_INTERVALS``. After a standstill or a network change
    it is checked at once, within ``MAX_DOUBTFUL_S``, and ``on_change`` is called. ``new_detector`` is called a tick
    later: its imports would delay the `up` that has just connected. Raises ``OSError``."""

    def __init__(
        self,
        session: Checkable,
        every_s: float,
        new_detector: Callable[[], NetworkChangeDetector],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._every_s = every_s
        self._new_detector = new_detector
        self._on_change = on_change
        self._changes = SystemChanges()
        self._is_stopped = self._was_continued = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="ssh keepalive")
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped = True
        self._changes.wake()

    def on_continued(self) -> None:
        """This process was stopped, and runs again (SIGCONT). For signal handlers: takes no lock."""
        self._was_continued = True
        self._changes.wake()

    def _run(self) -> None:
        with contextlib.closing(self._changes):
            self._changes.wait(min(TICK_S, self._every_s))
            self._changes.listen()
            detector = self._new_detector()
            while True:
                doubt = self._wait_interval(detector)
                if self._is_stopped or self._session.closed:
                    return
                if doubt:
                    log.info("%s: the link is checked", doubt)
                    self._on_change()
                if not self._check(doubt):
                    return
                detector.reset()

    def _check(self, doubt: str) -> bool:
        """Closes the session and returns False if it is dead."""
        within_s = min(MAX_DOUBTFUL_S, self._every_s) if doubt else (MAX_SILENT_INTERVALS - 1) * self._every_s
        try:
            self._session.check(within_s)
        except RemoteRuntimeError as error:
            why = f"no response from the machine for {within_s:g} s" + (f" after {doubt}" if doubt else "")
            log.info("%s: %s", why, error)
            self._session.close(why)
            return False
        return True

    def _wait_interval(self, detector: NetworkChangeDetector) -> str:
        """Wait until nothing was received for an interval, or until a standstill or a network change: its description,
        else empty."""
        while not self._session.closed and not self._is_stopped:
            left_s = self._every_s - self._session.silent_s
            if left_s <= 0:
                return ""
            waited_s = left_s if self._was_continued else self._changes.wait(left_s)
            was_continued, self._was_continued = self._was_continued, False
            doubt = detector.poll(waited_s) or ("this process was stopped" if was_continued else "")
            if doubt:
                return doubt
        return ""
