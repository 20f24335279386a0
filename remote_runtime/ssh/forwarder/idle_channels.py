"""How many channels a pool keeps open and checked before a client comes."""

from __future__ import annotations

import time
from collections.abc import Callable

from .loop import Loop
from .timers import Alarm

MIN_READY = 6  # a browser opens six connections to a server at once
MAX_READY = 32
_SHRINK_AFTER_S = 10.0


class IdleChannelCount:
    """``wanted``: as many as were recently needed at once, at least ``MIN_READY``; 0 if no client has come for
    ``idle_s``, or if none are kept (``enabled``). ``on_fewer`` is called when it has become smaller. Used in the loop's
    thread; ``start`` begins."""

    def __init__(self, loop: Loop, idle_s: float, on_fewer: Callable[[], None], *, enabled: bool) -> None:
        self.wanted = MIN_READY if enabled else 0
        self._idle_s = idle_s
        self._on_fewer = on_fewer
        self._enabled = enabled
        self._used_at = self._exhausted_at = time.monotonic()
        self._alarm = Alarm(loop.call_later, self._shrink)

    def start(self) -> None:
        self._wait()

    def stop(self) -> None:
        self.wanted, self._enabled = 0, False
        self._alarm.cancel()

    def on_client(self) -> None:
        self._used_at = time.monotonic()
        if self._enabled and not self.wanted:
            self.wanted = MIN_READY
            self._wait()

    def on_exhausted(self) -> None:
        """A client has come, and no idle channel was there."""
        if self._enabled:
            self._exhausted_at = time.monotonic()
            self.wanted = min(MAX_READY, self.wanted * 2)
            self._wait()

    def _wait(self) -> None:
        if self.wanted:
            due = self._used_at + self._idle_s
            if self.wanted > MIN_READY:
                due = min(due, self._exhausted_at + _SHRINK_AFTER_S)
            self._alarm.set(due - time.monotonic())

    def _shrink(self) -> None:
        now, before = time.monotonic(), self.wanted
        if now - self._used_at >= self._idle_s:
            self.wanted = 0
        elif self.wanted > MIN_READY and now - self._exhausted_at >= _SHRINK_AFTER_S:
            self.wanted = max(MIN_READY, self.wanted // 2)
            self._exhausted_at = now
        self._wait()
        if self.wanted < before:
            self._on_fewer()
