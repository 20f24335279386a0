"""Whether the other end of a connection is alive: asked at each interval, in a thread of its own."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from ..core.errors import RemoteRuntimeError
from .network_change import TICK_S, NetworkChangeDetector


class Checkable(Protocol):
    """What can be asked whether it lives. ``check`` raises ``RemoteRuntimeError`` after hearing nothing for so long."""

    @property
    def closed(self) -> bool: ...
    def check(self, within_s: float) -> float: ...
    def close(self, why: str = ...) -> None: ...


log = logging.getLogger(__name__)
MAX_SILENT_INTERVALS = 3
MAX_DOUBTFUL_S = 3.0


class Keepalive:
    """Closes the session when nothing was heard for three intervals, so that everybody on it notices. After a
    ``disturbance`` it is asked at once, and given little time. ``watch`` begins to look for those, a tick later: what
    it imports would delay the `up` that has just entered a machine."""

    def __init__(self, session: Checkable, every_s: float, new_detector: Callable[[], NetworkChangeDetector]) -> None:
        self._session = session
        self._every_s = every_s
        self._new_detector = new_detector
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="pulse")
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
                why = f"nothing was heard of the machine for {within_s:g} s" + (f" after {doubt}" if doubt else "")
                log.info("%s: %s", why, error)
                self._session.close(why)
                return
            self._network_changes.reset()

    def _wait_interval(self) -> str:
        """An interval long, unless something happens that makes the link doubtful: what that is."""
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
