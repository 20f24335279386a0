"""Graphs of characters: a history in one or more rows, and a meter for what hardly changes."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.fast_dataclass import fast_dataclass

NO_SAMPLE = " "


@fast_dataclass(frozen=True)
class Signs:
    """``bars``: from an eighth to full; ``zero``: a sample of nothing; ``empty``: the free part of a meter."""

    bars: str
    zero: str
    empty: str


UNICODE_SIGNS = Signs("▁▂▃▄▅▆▇█", "·", "░")
PLAIN_SIGNS = Signs(".:-=+*#@", " ", ".")


def bar_graph(samples: Sequence[float | None], top: float, rows: int = 1, signs: Signs = UNICODE_SIGNS) -> list[str]:
    """One column for each sample, as high as its share of ``top``; the rows from above. A column is blank for None, has
    the sign of zero below 0.5 % of ``top``, and is an eighth of a row high at least above it."""
    steps = len(signs.bars)
    heights = [_height(sample, top, rows * steps) for sample in samples]
    lines = []
    for row in reversed(range(rows)):
        line = ""
        for height in heights:
            filled = 0 if height is None else min(steps, height - row * steps)
            is_zero = height == 0 and row == 0
            line += signs.bars[filled - 1] if filled > 0 else signs.zero if is_zero else NO_SAMPLE
        lines.append(line)
    return lines


def meter(share: float, columns: int, signs: Signs = UNICODE_SIGNS) -> tuple[str, str]:
    """The filled and the free part."""
    filled = min(columns, max(0, round(share * columns)))
    return signs.bars[-1] * filled, signs.empty * (columns - filled)


def _height(sample: float | None, top: float, steps: int) -> int | None:
    if sample is None:
        return None
    share = sample / top
    return 0 if share < 0.005 else min(steps, max(1, round(share * steps)))
