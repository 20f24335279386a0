"""The table of ``scripts/bench tunnel``, and its goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from . import table
from .tunnel_candidates import ALL, OURS
from .tunnel_loads import percentile
from .tunnel_parts import SAMPLES_FOR_P99, Goal


class Rows:
    """One value a round in each cell, or all samples of all rounds, of which percentiles are shown."""

    def __init__(self) -> None:
        self._cells: dict[str, dict[str, list[list[float]]]] = {}

    def add(self, candidate: str, values: Mapping[str, Sequence[float]]) -> None:
        for row, found in values.items():
            self._cells.setdefault(row, {}).setdefault(candidate, []).append(list(found))

    def markdown(self) -> str:
        """One row for each measure, one column for each candidate; a ratio is remote-runtime to that candidate."""
        rows = self._rows()
        names = [name for name in ALL if any(name in cells for cells in rows.values())]
        lines = [["", *names], ["---"] * (len(names) + 1)]
        lines += [[row, *(_cell(cells, name) for name in names)] for row, cells in rows.items()]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def verdicts(self, goals: Iterable[Goal]) -> str:
        """A line for each goal of which all was measured."""
        rows = self._rows()
        found = []
        for goal in goals:
            ours = rows.get(goal.row, {}).get(OURS)
            other = rows.get(goal.other or goal.row, {}).get(goal.than or OURS)
            if ours and other:
                ratio = table.ratio(ours, other)
                met = ratio >= goal.limit if goal.at_least else ratio <= goal.limit
                sign = "≥" if goal.at_least else "≤"
                found.append(
                    f"{'met   ' if met else 'MISSED'} {goal.row}: {ratio:.3g} × {goal.than or goal.other}, "
                    f"{sign} {goal.limit:g}"
                )
        return "\n".join(found)

    def _rows(self) -> dict[str, dict[str, list[float]]]:
        """Candidate → one value a round. A percentile 99 only of enough samples; its spread is that of the rounds."""
        rows: dict[str, dict[str, list[float]]] = {}
        for row, cells in self._cells.items():
            for name, rounds in cells.items():
                if all(len(values) == 1 for values in rounds):
                    rows.setdefault(row, {})[name] = [values[0] for values in rounds]
                    continue
                rows.setdefault(f"{row}, p50 ms", {})[name] = [statistics.median(values) for values in rounds]
                if sum(map(len, rounds)) >= SAMPLES_FOR_P99:
                    rows.setdefault(f"{row}, p99 ms", {})[name] = [percentile(values, 99) for values in rounds]
        return rows


def _cell(cells: Mapping[str, Sequence[float]], name: str) -> str:
    if name not in cells:
        return "–"
    if name == OURS or OURS not in cells or not statistics.median(cells[name]):
        return table.spread(cells[name])
    return f"{table.spread(cells[name])} ×{table.ratio(cells[OURS], cells[name]):.2g}"
