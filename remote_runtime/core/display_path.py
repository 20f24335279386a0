"""Shows paths to people."""

from __future__ import annotations

from pathlib import Path


def display_path(path: Path) -> str:
    """The path with ``~`` for the home directory."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):  # outside of it, or there is none
        return str(path)
