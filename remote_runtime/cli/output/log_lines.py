"""Formats lines of the log of a background process."""

from __future__ import annotations

import sys

from ...state.log_file import parse_line
from .theme import paint

LEVEL_STYLES = {"WARNING": "warning", "ERROR": "error", "CRITICAL": "error"}


def short_line(line: str) -> str:
    """With the reader's time of day, without the usual level and the module."""
    entry = parse_line(line)
    if entry is None:
        return line
    level = "" if entry.level == "INFO" else f"{entry.level} "
    return f"{entry.time:%H:%M:%S} {level}{entry.text}"


def format_line(line: str, *, verbose: bool) -> str:
    """With the reader's time and its zone, and with ``verbose`` the module; a line that begins no entry as it is."""
    entry = parse_line(line)
    if entry is None:
        return line
    time = paint(entry.time.strftime("%Y-%m-%d %H:%M:%S %Z"), "detail", sys.stdout)
    level = f"{entry.level:<7}"
    if entry.level in LEVEL_STYLES:
        level = paint(level, LEVEL_STYLES[entry.level], sys.stdout)
    source = paint(f"{entry.source}: ", "detail", sys.stdout) if verbose else ""
    return f"{time} {level} {source}{entry.text}"
