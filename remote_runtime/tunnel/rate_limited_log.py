"""A log that any program of this computer can write to must not grow as fast as that program likes."""

from __future__ import annotations

import logging
import threading
import time

EVERY_S = 10.0


class Seldom:
    """Logs the first of its kind at once, and then at most once in ``every_s`` with how many there were. ``kind``
    is what they have in common; for any thread."""

    def __init__(self, log: logging.Logger, every_s: float = EVERY_S) -> None:
        self._log = log
        self._every_s = every_s
        self._lock = threading.Lock()
        self._said: dict[str, tuple[float, int]] = {}

    def __call__(self, kind: str, more: object = "", *, level: int = logging.INFO) -> None:
        now = time.monotonic()
        with self._lock:
            at, unsaid = self._said.get(kind, (now - self._every_s, 0))
            if now - at < self._every_s:
                self._said[kind] = at, unsaid + 1
                return
            self._said[kind] = now, 0
        told = f"{kind}: {more}" if more else kind
        self._log.log(level, "%s%s", told, f" (and {unsaid} more since the last such line)" if unsaid else "")
