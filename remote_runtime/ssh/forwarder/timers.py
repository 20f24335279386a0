"""The timers of an event loop: calls to be made after a delay, in the loop's thread."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

_Clock = Callable[[], float]
_MAX_CANCELLED = 64


class Timer:
    """One call that waits. After ``cancel`` it is not made; cancelling it again, or late, does nothing."""

    __slots__ = ("_call", "_on_cancel")

    def __init__(self, call: Callable[[], None], on_cancel: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call
        self._on_cancel = on_cancel

    @property
    def is_pending(self) -> bool:
        return self._call is not None

    def cancel(self) -> None:
        if self._call is not None:
            self._call = None
            self._on_cancel()

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


_CallLater = Callable[[float, Callable[[], None]], Timer]


class Alarm:
    """A call that waits at most once. ``call_later``: a loop's."""

    def __init__(self, call_later: _CallLater, call: Callable[[], None], clock: _Clock = time.monotonic) -> None:
        self._call_later = call_later
        self._call = call
        self._clock = clock
        self._timer: Timer | None = None
        self._due = 0.0

    def set(self, delay_s: float) -> None:
        """Make the call after this time, or earlier if an earlier call of `set` said so."""
        due = self._clock() + delay_s
        if self._timer is None or not self._timer.is_pending or due < self._due:
            self.cancel()
            self._timer, self._due = self._call_later(delay_s, self._call), due

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class TimerQueue:
    """Timers by their due time; those due at once keep their order. For one thread."""

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Timer]] = []
        self._cancelled_count = 0

    def __len__(self) -> int:
        """How many are kept, cancelled ones among them."""
        return len(self._heap)

    def add(self, delay_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call, self._on_cancel)
        heapq.heappush(self._heap, (self._clock() + delay_s, next(self._order), timer))
        return timer

    def next_delay_s(self) -> float | None:
        """How long until the first one is due, at least 0; None if there is none."""
        while self._heap and not self._heap[0][2].is_pending:
            self._pop()
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    def run_due(self) -> None:
        """Make the calls that are due. Those that a call adds wait for the next time. Raises what a call raises."""
        if not self._heap or self._heap[0][0] > (now := self._clock()):
            return
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(self._pop())
        for timer in due:
            timer.fire()

    def _pop(self) -> Timer:
        timer = heapq.heappop(self._heap)[2]
        self._cancelled_count -= not timer.is_pending
        return timer

    def _on_cancel(self) -> None:
        """Most timers are cancelled long before they are due: those are dropped once they are the larger part."""
        self._cancelled_count += 1
        if self._cancelled_count > _MAX_CANCELLED and 2 * self._cancelled_count > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].is_pending]
            heapq.heapify(self._heap)
            self._cancelled_count = 0
