"""What is done while the machine says which server it has: what the checks need is imported."""

from __future__ import annotations

import logging
import threading

from ..jupyter import health

log = logging.getLogger(__name__)
# What is sent to the machine is put together first: both would share one processor, and the machine would wait.
DELAY_S = 0.02
JOIN_TIMEOUT_S = 20.0


class BackgroundImport:
    """In a thread of its own, from the beginning to the end of its block."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def __enter__(self) -> BackgroundImport:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        if self._done.wait(DELAY_S):
            return
        try:
            health.checks.preload_libraries()
        except Exception:
            log.exception("a bug of ours in a look ahead")
