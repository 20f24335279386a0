"""How much the machine may send before we say that there is room again (RFC 4254 5.2).

A large window keeps a long link full, and a too large one fills the link's queue, where a keystroke then waits behind
a download. So a window grows only while its reader keeps up and the round trip stays near its minimum, as TCP Vegas
and LEDBAT (RFC 6817) do, and shrinks when it does not; never below what the link is known to carry in such a round
trip, as BBR has it, since a busy computer answers late too. All windows together are bounded: readers that stall, or a
machine that means us harm, cost no more memory than that.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable

from .aes_gcm import BadPacket

INITIAL_BYTES = 2 << 20
MAX_BYTES = 64 << 20
MIN_BYTES = 32 << 10
MAX_TOTAL_BYTES = 128 << 20
MAX_CHANNELS = 2048
_FOR_GROWTH_BYTES = 32 << 20
_MIN_SHRUNK_BYTES = 512 << 10
_MAX_STEP_BYTES = 1 << 20
_PROBE_INTERVAL_S = 0.01
_UNCONGESTED_FACTOR, _UNCONGESTED_S = 1.07, 0.002
_CONGESTED_FACTOR, _CONGESTED_S = 1.15, 0.004
_RTT_WINDOW_S = 300.0
_RATE_WINDOW_ROUND_TRIPS = 20
_MIN_ROUND_TRIP_S = 1e-6
_SMALL_STEP = 3  # an eighth


class WindowBudget:
    """What all windows of a link may have together, beyond the smallest window that each is sure of."""

    def __init__(self) -> None:
        self.available = MAX_TOTAL_BYTES - MAX_CHANNELS * MIN_BYTES

    def reserve_initial(self) -> int:
        """For a new channel: less when many have some already; a part is kept for those that will need it."""
        return MIN_BYTES + self.reserve(INITIAL_BYTES - MIN_BYTES, (self.available - _FOR_GROWTH_BYTES) // 8)

    def reserve(self, wanted: int, max_bytes: int) -> int:
        """``most``: not more than what is ``left``."""
        reserved = wanted if wanted < max_bytes else max_bytes
        if reserved <= 0:
            return 0
        self.available -= reserved
        return reserved

    def release(self, size: int) -> None:
        self.available += size


class WindowedBest:
    """The best, as ``better`` says of two, of the values of the last one to two periods."""

    def __init__(self, better: Callable[[float, float], bool], worst: float) -> None:
        self.best = worst
        self._better = better
        self._worst = self._current = self._previous = worst
        self._since = float("-inf")

    def add(self, value: float, now: float, period_s: float) -> None:
        if now - self._since > period_s:
            self.best = self._previous = self._current
            self._current, self._since = self._worst, now
        if self._better(value, self._current):
            self._current = value
        if self._better(value, self.best):
            self.best = value


class RttEstimator:
    """The link's round trip: ``least_s`` is its minimum of the last five to ten minutes, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._min = WindowedBest(operator.lt, float("inf"))

    @property
    def min_s(self) -> float:
        return self._min.best

    def add_sample(self, round_trip_s: float) -> None:
        self._min.add(round_trip_s, self.clock(), _RTT_WINDOW_S)

    def is_uncongested(self, round_trip_s: float) -> bool:
        """The link's queue is as good as empty."""
        return round_trip_s < self.min_s * _UNCONGESTED_FACTOR + _UNCONGESTED_S

    @property
    def congested_s(self) -> float:
        """From here on its queue is too long."""
        return self.min_s * _CONGESTED_FACTOR + _CONGESTED_S


class Window:
    """Of one channel. ``size``: what the machine may have under way; ``credit``: what it may send now."""

    def __init__(self, budget: WindowBudget, rtt: RttEstimator) -> None:
        self._budget = budget
        self._rtt = rtt
        self.size = self.credit = budget.reserve_initial()
        self._unsent_credit = 0
        self._to_withhold = 0
        self._received = 0
        self._probed_at = 0.0
        self._received_at_probe = 0
        self._probing = False
        self._has_grown = False
        self._step = 0
        self._rate = WindowedBest(operator.gt, 0.0)

    def received(self, count: int) -> None:
        """Raises ``BadPacket`` when that is more than it may send."""
        if count > self.credit:
            raise BadPacket("the server sends more than it may")
        self.credit -= count
        self._received += count

    def consume(self, count: int) -> int:
        """The local reader took this much. What to add to the credit now; 0 for later."""
        if self._to_withhold:
            withheld = min(count, self._to_withhold)
            self._to_withhold -= withheld
            self._budget.release(withheld)
            count -= withheld
        self._unsent_credit += count
        if self._unsent_credit < min(self.size >> 3, _MAX_STEP_BYTES):
            return 0
        more, self._unsent_credit = self._unsent_credit, 0
        self.credit += more
        return more

    def probe_due(self) -> bool:
        """Whether to measure the round trip now: while much comes, one at a time. True is told once."""
        if self._probing or self._received - self._received_at_probe < min(self.size, INITIAL_BYTES) >> 2:
            return False
        now = self._rtt.clock()
        if now - self._probed_at < _PROBE_INTERVAL_S:
            return False
        self._probing, self._probed_at, self._received_at_probe = True, now, self._received
        return True

    def on_probe_reply(self) -> None:
        """The answer of the probe has come; one that nobody has asked for says nothing."""
        if not self._probing:
            return
        self._probing = False
        now = self._rtt.clock()
        round_trip_s = now - self._probed_at
        self._rtt.add_sample(round_trip_s)
        received = self._received - self._received_at_probe
        self._rate.add(
            received / max(round_trip_s, _MIN_ROUND_TRIP_S), now, _RATE_WINDOW_ROUND_TRIPS * self._rtt.congested_s
        )
        if round_trip_s > self._rtt.congested_s:
            self._step, self._has_grown = _SMALL_STEP, False
            # Not at once: a single late answer says little.
            self._shrink_to(max(int(self._rate.best * self._rtt.congested_s), self.size - (self.size >> 3)))
        elif self._has_grown:
            self._has_grown = False  # this probe left together with the larger window: the next one shows its effect
        elif received * 2 >= self.size and self._rtt.is_uncongested(round_trip_s):
            # The window, not the sender, is what limits it.
            self._has_grown = True
            self._grow(self.size >> self._step)
            self._step = max(0, self._step - 1)

    def release(self) -> None:
        """The channel is closed."""
        self._budget.release(self.size + self._to_withhold - MIN_BYTES)
        self.size, self._to_withhold = MIN_BYTES, 0

    def _grow(self, wanted: int) -> None:
        more = self._budget.reserve(min(wanted, MAX_BYTES - self.size), self._budget.available)
        self.size += more
        self._unsent_credit += more

    def _shrink_to(self, target: int) -> None:
        """Credit that was given cannot be taken back: as much is not renewed."""
        less = max(0, self.size - max(target, min(self.size, _MIN_SHRUNK_BYTES)))
        self.size -= less
        self._to_withhold += less
