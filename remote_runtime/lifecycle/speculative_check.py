"""What is done while the machine says which server it has: what the checks need is imported."""

from __future__ import annotations

import logging
import threading

from ..jupyter import health

log = logging.getLogger(__name__)
# What is sent to the machine is put together first: both would share one processor, and the machine would wait.
HEAD_START_S = 0.02
END_S = 20.0


class Ahead:
    """In a thread of its own, from the beginning to the end of its block."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(END_S)

    def _run(self) -> None:
        if self._over.wait(HEAD_START_S):
            return
        try:
            health.checks.load()
        except Exception:
            log.exception("a bug of ours in a look ahead")
