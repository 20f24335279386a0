"""Limits how often lines are logged that any program on this computer can cause."""

from __future__ import annotations

import logging
import threading
import time

INTERVAL_S = 10.0


class RateLimitedLog:
    """Logs the first line of a ``kind`` at once, and further ones at most once in ``every_s``, with their number. For
    any thread."""

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
