"""Durations for people."""

from __future__ import annotations

from datetime import datetime, timezone


def duration_since(moment: str | None) -> str:
    """The time since an ISO 8601 moment in one or two units; empty for none."""
    if not moment:
        return ""
    seconds = int((datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds())
    for size, unit, smaller, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // smaller} {small_unit}"
    return f"{max(0, seconds)} s"


def duration_words(seconds: float) -> str:
    """A duration in its largest unit that leaves no rest: ``90 s``, ``30 min``, ``2 h``, ``7 d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
