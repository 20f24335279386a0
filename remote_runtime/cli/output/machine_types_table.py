"""`machine-types` as a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...core.machine_offers import MachineOffer
from ...core.sanitize import clean_line
from . import format
from .console import align, fit_columns, width, wrap
from .theme import paint

HEAD = ("MACHINE TYPE", "GPU", "REGION", "PER HOUR", "SPOT", "OBTAINABLE", "CPUS", "MEMORY", "ZONES")
# The column with the highest rank is written below its row first.
RANKS = (0, 0, 0, 0, 1, 2, 3, 4, 5)
MIN_COLUMNS = 20


def machine_types_table(offers: Sequence[MachineOffer], max_columns: int | None = None) -> str:
    """``max_columns``: 0 for no limit, None for the terminal's width."""
    max_columns = width() if max_columns is None else max_columns
    cells = [list(HEAD), *([clean_line(cell, 200) for cell in _row(offer)] for offer in offers)]
    shown = fit_columns(cells, max_columns, rank=lambda column: RANKS[column])

    def style(row: int, column: int, text: str) -> str:
        return text if row else paint(text, "heading", sys.stdout)

    lines = []
    for row, line in zip(cells, align(cells, shown, style), strict=True):
        lines.append(line)
        hidden = [_labelled(column, cell) for column, cell in enumerate(row) if column not in shown and cell]
        if hidden and row is not cells[0]:
            lines += [f"  {part}" for part in wrap(" · ".join(hidden), max(MIN_COLUMNS, max_columns - 2))]
    return "\n".join(lines)


def _row(offer: MachineOffer) -> tuple[str, ...]:
    return (
        offer.machine_type,
        f"{offer.gpu_count} {offer.gpu}" if offer.gpu else "none",
        offer.region,
        _price(offer.price),
        _price(offer.spot_price),
        _obtainability(offer),
        str(offer.cpus),
        f"{offer.memory_gb:g} GB",
        ", ".join(zone.removeprefix(f"{offer.region}-") for zone in offer.zones),
    )


def _labelled(column: int, cell: str) -> str:
    words = {6: "{} CPUs", 7: "{}", 8: f"zone{'s' if ',' in cell else ''} {{}}"}
    return words.get(column, f"{HEAD[column].lower()} {{}}").format(cell)


def _price(amount: float | None) -> str:
    return "" if amount is None else format.money(amount, "USD")


def _obtainability(offer: MachineOffer) -> str:
    scores = (("", offer.obtainability), ("spot ", offer.spot_obtainability))
    return ", ".join(f"{model}{format.percent(score)}" for model, score in scores if score is not None)
