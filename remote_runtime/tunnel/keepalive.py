"""Checks in a thread, at an interval, that an SSH session is alive, and closes it if it is not."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from ..core.errors import RemoteRuntimeError
from .network_change import TICK_S, NetworkChangeDetector


class Checkable(Protocol):
    """``check`` raises ``RemoteRuntimeError`` if nothing is received within ``within_s``."""

    @property
    def closed(self) -> bool: ...
    def check(self, within_s: float) -> float: ...
    def close(self, why: str = ...) -> None: ...


log = logging.getLogger(__name__)
MAX_SILENT_INTERVALS = 3
MAX_DOUBTFUL_S = 3.0


class Keepalive:
    """Closes the session if nothing was received for ``MAX_SILENT_INTERVALS``. After a standstill or a network change
    it is checked at once, within ``MAX_DOUBTFUL_S``. ``new_detector`` is called a tick later: its imports would delay
    the `up` that has just connected."""

    def __init__(self, session: Checkable, every_s: float, new_detector: Callable[[], NetworkChangeDetector]) -> None:
        self._session = session
        self._every_s = every_s
        self._new_detector = new_detector
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="ssh keepalive")
        self._thread.start()

    @functools.cached_property
    def _network_changes(self) -> NetworkChangeDetector:
        return self._new_detector()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while True:
            doubt = self._wait_interval()
            if self._stop.is_set() or self._session.closed:
                return
            within_s = min(MAX_DOUBTFUL_S, self._every_s) if doubt else (MAX_SILENT_INTERVALS - 1) * self._every_s
            try:
                self._session.check(within_s)
            except RemoteRuntimeError as error:
                why = f"no response from the machine for {within_s:g} s" + (f" after {doubt}" if doubt else "")
                log.info("%s: %s", why, error)
                self._session.close(why)
                return
            self._network_changes.reset()

    def _wait_interval(self) -> str:
        """Wait for an interval, or until a standstill or a network change: its description, else empty."""
        left_s = self._every_s
        while left_s > 0 and not self._session.closed:
            tick_s = min(TICK_S, left_s)
            if self._stop.wait(tick_s):
                return ""
            left_s -= tick_s
            doubt = self._network_changes.poll()
            if doubt:
                log.info("%s: the link is checked", doubt)
                return doubt
        return ""
