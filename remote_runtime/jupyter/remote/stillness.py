"""For how long nothing was used, by two clocks: one of them may stand still while the machine is suspended."""

from __future__ import annotations

# What setting the clock right moves it by; a suspension lasts longer.
MAX_CLOCK_JUMP_S = 5.0
# Longer than a look, a pause and a try to stop the machine take together.
MAX_CHECK_GAP_S = 180.0


class IdleTimer:
    """Seconds of ``time.monotonic()`` and ``time.time()``. A machine that stood still between two looks was resumed by
    somebody, which is a use."""

    def __init__(self, for_s: float, monotonic: float, wall: float) -> None:
        self._used_at = monotonic - for_s
        self._checked_at, self._clock_offset = monotonic, wall - monotonic

    def idle_s(self, ago_s: float, monotonic: float, wall: float) -> float:
        """``ago_s``: how long ago a use was, as it is seen now."""
        if wall - monotonic - self._clock_offset > MAX_CLOCK_JUMP_S or monotonic - self._checked_at > MAX_CHECK_GAP_S:
            self._used_at = monotonic
        self._checked_at, self._clock_offset = monotonic, wall - monotonic
        self._used_at = max(self._used_at, monotonic - ago_s)
        return monotonic - self._used_at
