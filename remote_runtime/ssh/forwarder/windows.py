"""Receive windows: how many bytes the server may send before this end adjusts the window (RFC 4254 5.2).

A large window keeps a link with a long round trip full; a too large one fills its queue, and a keystroke then waits
behind a download. So a window grows only while its reader keeps up and the round trip stays near its minimum, as TCP
Vegas and LEDBAT (RFC 6817) do, and shrinks otherwise; but not below the rate measured lately times such a round trip,
as in BBR, since a busy computer answers late too. The sum of all windows is bounded, and with it the memory that
stalled readers or a malicious server can use.
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
_UNCONGESTED_FACTOR, _UNCONGESTED_S = 1.03, 0.002
_CONGESTED_FACTOR, _CONGESTED_S = 1.06, 0.004
_RTT_WINDOW_S = 300.0
_RATE_WINDOW_ROUND_TRIPS = 20
_MIN_ROUND_TRIP_S = 1e-6
_SMALL_STEP = 3  # an eighth


class WindowBudget:
    """Bytes that the windows of a connection share, beyond the minimal window of each."""

    def __init__(self) -> None:
        self.available = MAX_TOTAL_BYTES - MAX_CHANNELS * MIN_BYTES

    def reserve_initial(self) -> int:
        """The window of a new channel: smaller the less is available; a part is kept for windows that grow."""
        return MIN_BYTES + self.reserve(min(INITIAL_BYTES - MIN_BYTES, (self.available - _FOR_GROWTH_BYTES) // 8))

    def reserve(self, wanted: int) -> int:
        """``wanted`` bytes, or what is available."""
        reserved = max(0, min(wanted, self.available))
        self.available -= reserved
        return reserved

    def release(self, size: int) -> None:
        self.available += size


class WindowedBest:
    """The best value of the last one to two periods. ``better``: compares two values."""

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
    """The connection's round trip time: ``min_s`` is the minimum of the last five to ten minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._min = WindowedBest(operator.lt, float("inf"))

    @property
    def min_s(self) -> float:
        return self._min.best

    def add_sample(self, round_trip_s: float) -> None:
        self._min.add(round_trip_s, self.clock(), _RTT_WINDOW_S)

    def is_uncongested(self, round_trip_s: float) -> bool:
        """Whether the link's queue is practically empty."""
        return round_trip_s < self.min_s * _UNCONGESTED_FACTOR + _UNCONGESTED_S

    @property
    def congested_s(self) -> float:
        """The round trip from which on the link's queue is too long."""
        return self.min_s * _CONGESTED_FACTOR + _CONGESTED_S


class Window:
    """The window of one channel. ``size``: bytes that may be in flight; ``credit``: that the server may send now."""

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
        """Raises ``BadPacket`` if the server exceeds the window."""
        if count > self.credit:
            raise BadPacket("the server sends more than it may")
        self.credit -= count
        self._received += count

    def consume(self, count: int) -> int:
        """The local reader has read ``count`` bytes. Returns the bytes to grant now; 0 to grant them later."""
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
        """Whether to send a probe now: one at a time, while much is received. It counts as sent then."""
        if self._probing or self._received - self._received_at_probe < min(self.size, INITIAL_BYTES) >> 2:
            return False
        now = self._rtt.clock()
        if now - self._probed_at < _PROBE_INTERVAL_S:
            return False
        self._probing, self._probed_at, self._received_at_probe = True, now, self._received
        return True

    def on_probe_reply(self) -> None:
        """Measure, and adapt the window; a reply without a probe is ignored."""
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
            # Step by step: a single late reply means little.
            self._shrink_to(max(int(self._rate.best * self._rtt.congested_s), self.size - (self.size >> 3)))
        elif self._has_grown:
            self._has_grown = False  # this probe was sent with the larger window: the next one measures its effect
        elif received * 2 >= self.size and self._rtt.is_uncongested(round_trip_s):
            # The window limits the rate, not the sender.
            self._has_grown = True
            self._grow(self.size >> self._step)
            self._step = max(0, self._step - 1)

    def release(self) -> None:
        """Return the window to the budget; the channel is closed."""
        self._budget.release(self.size + self._to_withhold - MIN_BYTES)
        self.size, self._to_withhold = MIN_BYTES, 0

    def _grow(self, wanted: int) -> None:
        more = self._budget.reserve(min(wanted, MAX_BYTES - self.size))
        self.size += more
        self._unsent_credit += more

    def _shrink_to(self, target: int) -> None:
        """The peer may already use the window it was granted, so shrink by not replenishing it."""
        less = max(0, self.size - max(target, min(self.size, _MIN_SHRUNK_BYTES)))
        self.size -= less
        self._to_withhold += less
