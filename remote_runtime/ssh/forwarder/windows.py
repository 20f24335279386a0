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

FIRST_BYTES = 2 << 20
LARGEST_BYTES = 64 << 20
SMALLEST_BYTES = 32 << 10
TOGETHER_BYTES = 128 << 20
MOST_CHANNELS = 2048
_FOR_GROWTH_BYTES = 32 << 20
_SHRUNK_BYTES = 512 << 10
_LARGEST_STEP_BYTES = 1 << 20
_PROBE_EVERY_S = 0.01
_NEAR_FACTOR, _NEAR_S = 1.07, 0.002
_FAR_FACTOR, _FAR_S = 1.15, 0.004
_DELAY_REMEMBERED_S = 300.0
_RATE_REMEMBERED_ROUND_TRIPS = 20
_SHORTEST_S = 1e-6
_SMALL_STEP = 3  # an eighth


class Pool:
    """What all windows of a link may have together, beyond the smallest window that each is sure of."""

    def __init__(self) -> None:
        self.left = TOGETHER_BYTES - MOST_CHANNELS * SMALLEST_BYTES

    def first(self) -> int:
        """For a new channel: less when many have some already; a part is kept for those that will need it."""
        return SMALLEST_BYTES + self.take(FIRST_BYTES - SMALLEST_BYTES, (self.left - _FOR_GROWTH_BYTES) // 8)

    def take(self, wanted: int, most: int) -> int:
        """``most``: not more than what is ``left``."""
        taken = wanted if wanted < most else most
        if taken <= 0:
            return 0
        self.left -= taken
        return taken

    def give_back(self, size: int) -> None:
        self.left += size


class Recent:
    """The best, as ``better`` says of two, of the values of the last one to two periods."""

    def __init__(self, better: Callable[[float, float], bool], worst: float) -> None:
        self.best = worst
        self._better = better
        self._worst = self._now = self._before = worst
        self._since = float("-inf")

    def add(self, value: float, now: float, period_s: float) -> None:
        if now - self._since > period_s:
            self.best = self._before = self._now
            self._now, self._since = self._worst, now
        if self._better(value, self._now):
            self._now = value
        if self._better(value, self.best):
            self.best = value


class Delay:
    """The link's round trip: ``least_s`` is its minimum of the last five to ten minutes, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._least = Recent(operator.lt, float("inf"))

    @property
    def least_s(self) -> float:
        return self._least.best

    def seen(self, round_trip_s: float) -> None:
        self._least.add(round_trip_s, self.clock(), _DELAY_REMEMBERED_S)

    def is_near(self, round_trip_s: float) -> bool:
        """The link's queue is as good as empty."""
        return round_trip_s < self.least_s * _NEAR_FACTOR + _NEAR_S

    @property
    def far_s(self) -> float:
        """From here on its queue is too long."""
        return self.least_s * _FAR_FACTOR + _FAR_S


class Window:
    """Of one channel. ``size``: what the machine may have under way; ``credit``: what it may send now."""

    def __init__(self, pool: Pool, delay: Delay) -> None:
        self._pool = pool
        self._delay = delay
        self.size = self.credit = pool.first()
        self._owed = 0
        self._debt = 0
        self._received = 0
        self._probed_at = 0.0
        self._received_at_probe = 0
        self._probing = False
        self._has_grown = False
        self._step = 0
        self._rate = Recent(operator.gt, 0.0)

    def received(self, count: int) -> None:
        """Raises ``BadPacket`` when that is more than it may send."""
        if count > self.credit:
            raise BadPacket("the server sends more than it may")
        self.credit -= count
        self._received += count

    def consumed(self, count: int) -> int:
        """The local reader took this much. What to add to the credit now; 0 for later."""
        if self._debt:
            kept = min(count, self._debt)
            self._debt -= kept
            self._pool.give_back(kept)
            count -= kept
        self._owed += count
        if self._owed < min(self.size >> 3, _LARGEST_STEP_BYTES):
            return 0
        more, self._owed = self._owed, 0
        self.credit += more
        return more

    def probe_due(self) -> bool:
        """Whether to measure the round trip now: while much comes, one at a time. True is told once."""
        if self._probing or self._received - self._received_at_probe < min(self.size, FIRST_BYTES) >> 2:
            return False
        now = self._delay.clock()
        if now - self._probed_at < _PROBE_EVERY_S:
            return False
        self._probing, self._probed_at, self._received_at_probe = True, now, self._received
        return True

    def probed(self) -> None:
        """The answer of the probe has come; one that nobody has asked for says nothing."""
        if not self._probing:
            return
        self._probing = False
        now = self._delay.clock()
        round_trip_s = now - self._probed_at
        self._delay.seen(round_trip_s)
        came = self._received - self._received_at_probe
        self._rate.add(came / max(round_trip_s, _SHORTEST_S), now, _RATE_REMEMBERED_ROUND_TRIPS * self._delay.far_s)
        if round_trip_s > self._delay.far_s:
            self._step, self._has_grown = _SMALL_STEP, False
            # Not at once: a single late answer says little.
            self._shrink_to(max(int(self._rate.best * self._delay.far_s), self.size - (self.size >> 3)))
        elif self._has_grown:
            self._has_grown = False  # this probe left together with the larger window: the next one shows its effect
        elif came * 2 >= self.size and self._delay.is_near(round_trip_s):
            # The window, not the sender, is what limits it.
            self._has_grown = True
            self._grow(self.size >> self._step)
            self._step = max(0, self._step - 1)

    def give_back(self) -> None:
        """The channel is closed."""
        self._pool.give_back(self.size + self._debt - SMALLEST_BYTES)
        self.size, self._debt = SMALLEST_BYTES, 0

    def _grow(self, wanted: int) -> None:
        more = self._pool.take(min(wanted, LARGEST_BYTES - self.size), self._pool.left)
        self.size += more
        self._owed += more

    def _shrink_to(self, aim: int) -> None:
        """Credit that was given cannot be taken back: as much is not renewed."""
        less = max(0, self.size - max(aim, min(self.size, _SHRUNK_BYTES)))
        self.size -= less
        self._debt += less
