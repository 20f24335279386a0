"""Threads that end when they are told to."""

from __future__ import annotations

import threading
from collections.abc import Callable


class WorkerThreads:
    """Work in threads, all under one condition, ``changed``; ``close`` cuts their pauses short and joins them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.closing = False
        self._threads: list[threading.Thread] = []

    def spawn(self, work: Callable[[], None]) -> None:
        with self.changed:
            if self.closing:
                return
            thread = threading.Thread(target=work, name="demo-cloud")
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def sleep(self, seconds: float) -> bool:
        """False if ``close`` was called meanwhile."""
        with self.changed:
            return not self.changed.wait_for(lambda: self.closing, seconds)

    def close(self) -> None:
        with self.changed:
            self.closing = True
            self.changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()
