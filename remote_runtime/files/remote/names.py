"""Paths are bytes. In JSON they are text, with lone surrogates for what is not UTF-8."""

from __future__ import annotations

import os
import sys

_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(device + number for device in ("com", "lpt") for number in "123456789")]
)


def to_text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def to_path(text: str) -> bytes:
    """Raises ``ValueError`` for text that no path has."""
    return text.encode("utf-8", "surrogateescape")


def is_safe(name: bytes) -> bool:
    """Whether ``name`` is relative and stays below its root: no empty part, no ``.``, no ``..``."""
    return all(_is_safe_part(part) for part in name.split(b"/"))


def from_home(path: bytes) -> bytes:
    """``path`` with the home folder for ``~``. Relative paths begin in it, because it is the agent's folder."""
    return os.path.expanduser(path) if path[:1] == b"~" else path or b"."


def _is_safe_part(part: bytes) -> bool:
    if part in (b"", b".", b"..") or b"\0" in part:
        return False
    if sys.platform != "win32":
        return True
    stem = part.split(b".")[0].rstrip().lower().decode("latin-1")
    return not (set(part) & set(b'\\:<>"|?*') or part[-1:] in (b".", b" ") or stem in _RESERVED)
