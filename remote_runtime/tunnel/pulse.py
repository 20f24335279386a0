"""Whether the other end of a connection is alive: asked at each interval, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from ..errors import RemoteRuntimeError


class Pulsing(Protocol):
    """What can be asked whether it lives."""

    @property
    def closed(self) -> bool: ...
    def check(self, within_s: float) -> float: ...
    def close(self) -> None: ...


log = logging.getLogger(__name__)
MISSES = 3


class Pulse:
    """Closes the session after three intervals without an answer, so that everybody on it notices."""

    def __init__(self, session: Pulsing, every_s: float) -> None:
        self.rtt_ms: float | None = None
        self._session = session
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="pulse")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _beat(self) -> None:
        missed = 0
        while not self._stop.wait(self._every_s if missed == 0 else 0.0) and not self._session.closed:
            try:
                self.rtt_ms = self._session.check(self._every_s)
                missed = 0
            except RemoteRuntimeError as error:
                missed += 1
                log.info("no answer to a keep-alive (%d of %d): %s", missed, MISSES, error)
                if missed == MISSES:
                    self._session.close()
