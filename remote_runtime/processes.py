"""Processes that outlive the command that starts them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


def detached() -> dict[str, Any]:
    """Arguments for ``Popen``: a session of its own, away from this terminal and its signals."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def has_ended(pid: int) -> bool:
    """Whether no process runs under this id; one that only waits to be reaped has ended. 0 is nobody's."""
    import psutil

    try:
        return pid == 0 or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
