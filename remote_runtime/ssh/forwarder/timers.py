"""The timers of an event loop: calls to be made after a delay, in the loop's thread."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

_Clock = Callable[[], float]


class Timer:
    """One call that waits. After ``cancel`` it is not made; cancelling it again, or late, does nothing."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    @property
    def is_pending(self) -> bool:
        return self._call is not None

    def cancel(self) -> None:
        self._call = None

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class TimerQueue:
    """Timers by their due time; those due at once keep their order. For one thread."""

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Timer]] = []

    def add(self, delay_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._heap, (self._clock() + delay_s, next(self._order), timer))
        return timer

    def next_delay_s(self) -> float | None:
        """How long until the first one is due, at least 0; None if there is none."""
        while self._heap and not self._heap[0][2].is_pending:
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    def run_due(self) -> None:
        """Make the calls that are due. Those that a call adds wait for the next time. Raises what a call raises."""
        if not self._heap or self._heap[0][0] > (now := self._clock()):
            return
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        for timer in due:
            timer.fire()
