"""The user's home and login name, by a given environment, which can differ from this process's."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path


def home_dir(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home) if home else Path.home()


def expand_home(path: str, home: Path) -> Path:
    """``path`` with its ``~`` replaced by ``home``."""
    return home / path[2:] if path.startswith("~/") else Path(path)


def path_exists(path: Path) -> bool:
    """False also where that cannot be known: a folder that is not readable, a name that is too long."""
    try:
        return path.exists()
    except OSError:
        return False


def local_username() -> str:
    """The login name on this computer; empty for a uid without one, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
