"""Measured values as words: medians with their spread, ratios with their goals, what it all ran on."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

CANNOT_RUN = 3  # what a benchmark returns where this computer lacks what it needs


@dataclass(frozen=True)
class Row:
    """``ours`` and ``other`` (none where there is nothing to compare with): one value a round, in the row's unit.
    ``goal``: the ratio that ``ours`` reaches at most, or (``at_least``) at least. ``upstream``: both as upstream
    has them, or what it says instead."""

    name: str
    ours: Sequence[float]
    other: Sequence[float]
    goal: float
    upstream: tuple[Sequence[float], Sequence[float]] | str = ""
    at_least: bool = False

    @property
    def ratio(self) -> float:
        return ratio(self.ours, self.other)

    @property
    def is_met(self) -> bool:
        """True also where that is unknown."""
        return not self.other or (self.ratio >= self.goal if self.at_least else self.ratio <= self.goal)


def ratio(ours: Sequence[float], other: Sequence[float]) -> float:
    return statistics.median(ours) / statistics.median(other)


def table(rows: Iterable[Row]) -> str:
    """A Markdown table with aligned columns."""
    head = ["Median (min to max)", "ours", "compared with", "ratio", "goal", "upstream", "compared with", "ratio"]
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in cells)


def machine() -> str:
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = f"{len(models)} × {models[0]}" if models else model
    return f"{model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def versions(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {version(name)}" for name in names)


def spread(values: Sequence[float]) -> str:
    return f"{_short(statistics.median(values))} ({_short(min(values))} to {_short(max(values))})"


def _cells(row: Row) -> list[str]:
    goal = f"{'≥' if row.at_least else '≤'} {row.goal}"
    if not row.other:
        return [row.name, spread(row.ours), "–", "–", goal, "", "", ""]
    goal += " met" if row.is_met else " MISSED"
    first = [row.name, spread(row.ours), spread(row.other), f"{row.ratio:.2f}", goal]
    if isinstance(row.upstream, str):
        return [*first, row.upstream, "", ""]
    return [*first, *(spread(values) for values in row.upstream), f"{ratio(*row.upstream):.2f}"]


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
