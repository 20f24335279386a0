"""Sets of whole numbers that consist of few intervals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Iterator, List, Tuple


class IntervalSet:
    """Half-open intervals that neither overlap nor touch, in order."""

    def __init__(self) -> None:
        self._starts: List[int] = []
        self._ends: List[int] = []

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        low, high = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def gaps(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The intervals between ``start`` and ``end`` that are not in the set."""
        for index in range(bisect_right(self._ends, start), len(self._starts)):
            if self._starts[index] >= end:
                break
            if start < self._starts[index]:
                yield start, self._starts[index]
            start = self._ends[index]
        if start < end:
            yield start, end

    def covers(self, start: int, end: int) -> bool:
        return next(self.gaps(start, end), None) is None

    def forget_below(self, number: int) -> None:
        """Drop the intervals that end at or before ``number``."""
        count = bisect_right(self._ends, number)
        del self._starts[:count]
        del self._ends[:count]
