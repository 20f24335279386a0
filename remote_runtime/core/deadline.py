"""Every wait of this program has a ``Deadline``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import DeadlinePassed, Interrupted

T = TypeVar("T")


class Deadline:
    """A moment on the monotonic clock, and an event that cancels the work."""

    def __init__(self, timeout_s: float, cancelled: threading.Event | None = None) -> None:
        self.timeout_s = timeout_s
        self.cancelled = cancelled or threading.Event()
        self._end = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        return self.remaining_s() == 0.0

    def within(self, timeout_s: float) -> Deadline:
        """A deadline at most ``timeout_s`` seconds away and not after this one, cancelled together with it."""
        return Deadline(min(timeout_s, self.remaining_s()), self.cancelled)

    def check(self) -> None:
        """Raises ``Interrupted`` if the work was cancelled."""
        if self.cancelled.is_set():
            raise Interrupted()

    def sleep(self, seconds: float) -> None:
        """Sleep, at most until the deadline. Raises ``Interrupted`` as soon as the work is cancelled."""
        if self.cancelled.wait(min(seconds, self.remaining_s())):
            raise Interrupted()


def wait_until(probe: Callable[[], T | None], deadline: Deadline, *, every_s: float, what: str) -> T:
    """The first result of ``probe`` that is neither None nor False.

    Raises ``DeadlinePassed``, which names ``what``, or ``Interrupted``.
    """
    while True:
        deadline.check()
        answer = probe()
        if answer is not None and answer is not False:
            return answer
        if deadline.passed():
            raise DeadlinePassed(f"{what} took more than {deadline.timeout_s:.0f} s")
        deadline.sleep(every_s)
