"""How far a copy is, and what was copied."""

from __future__ import annotations

import time
from collections import deque

from ...commands.context import View
from ...commands.cp import CopyProgress, CopyResult
from . import console, format

SHOW_INTERVAL_S = 0.2
RATE_S = 5.0  # the rate is that of these seconds
MIN_RATE_S = 0.5


class CopyMeter:
    """Shows progress, rate and time left in ``view``; for any thread, one at a time."""

    def __init__(self, view: View, name: str) -> None:
        self._view = view
        self._name = name
        self._samples: deque[tuple[float, int]] = deque()

    def __call__(self, progress: CopyProgress) -> None:
        now = time.monotonic()
        if self._samples and now - self._samples[-1][0] < SHOW_INTERVAL_S:
            return
        self._samples.append((now, progress.bytes))
        while now - self._samples[0][0] > RATE_S:
            self._samples.popleft()
        self._view.detail(self._name, self._words(progress))

    def _words(self, progress: CopyProgress) -> str:
        parts = [format.fraction(progress.bytes, progress.all_bytes)]
        if progress.all_files > 1:
            parts.append(f"{progress.files}/{progress.all_files} files")
        (since, before), (until, after) = self._samples[0], self._samples[-1]
        if until - since >= MIN_RATE_S and after > before:
            rate = (after - before) / (until - since)
            left_s = (progress.all_bytes - progress.bytes) / rate
            parts += [f"{format.size(rate)}/s", f"{format.seconds(left_s)} left"]
        return ", ".join(parts)


def show_copied(result: CopyResult) -> None:
    """On stderr: the files are the answer."""
    files = "1 file" if result.files == 1 else f"{result.files} files"
    text = f"Copied {files}, {format.size(result.bytes)}"
    if result.seconds >= MIN_RATE_S:
        text += f", in {format.seconds(result.seconds)} ({format.size(result.bytes / result.seconds)}/s)"
    console.say(text)
