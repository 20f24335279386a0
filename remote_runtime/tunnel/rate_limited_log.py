"""A log that any program of this computer can write to must not grow as fast as that program likes."""

from __future__ import annotations

import logging
import threading
import time

INTERVAL_S = 10.0


class RateLimitedLog:
    """Logs the first of its kind at once, and then at most once in ``every_s`` with how many there were. ``kind``
    is what they have in common; for any thread."""

    def __init__(self, log: logging.Logger, every_s: float = INTERVAL_S) -> None:
        self._log = log
        self._every_s = every_s
        self._lock = threading.Lock()
        self._last_logged: dict[str, tuple[float, int]] = {}

    def __call__(self, kind: str, detail: object = "", *, level: int = logging.INFO) -> None:
        now = time.monotonic()
        with self._lock:
            at, suppressed = self._last_logged.get(kind, (now - self._every_s, 0))
            if now - at < self._every_s:
                self._last_logged[kind] = at, suppressed + 1
                return
            self._last_logged[kind] = now, 0
        line = f"{kind}: {detail}" if detail else kind
        self._log.log(level, "%s%s", line, f" (and {suppressed} more since the last such line)" if suppressed else "")
