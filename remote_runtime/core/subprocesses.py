"""Processes that we start, some of which outlive the command that does so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import LocalError

if TYPE_CHECKING:
    import subprocess

# How the code of ``python -c`` begins: nothing is imported from the current directory, a stranger's repository perhaps.
ISOLATED_SYS_PATH = "import sys; sys.path[:] = [entry for entry in sys.path if entry]; "


def start_python(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """This Python, as ``Popen`` starts it. Raises ``LocalError`` ``python-gone``: it may have been replaced by now."""
    import subprocess

    try:
        return subprocess.Popen([sys.executable, *arguments], **options)
    except OSError as error:
        raise LocalError(
            "python-gone",
            "Can't start another process of remote-runtime",
            f"{sys.executable or 'its Python'}: {error.strerror or error}",
        ) from error


def detached_popen_args() -> dict[str, Any]:
    """Arguments for ``Popen``: a session of its own, away from this terminal and its signals."""
    if sys.platform == "win32":
        import subprocess

        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def disable_core_dumps() -> None:
    """A crash writes nothing of this process's memory to the disk: tokens and unlocked keys are there. What it starts
    may allow itself cores again."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def has_ended(pid: int) -> bool:
    """Whether no process runs under this id; one that only waits to be reaped has ended. 0 is nobody's."""
    import psutil

    try:
        return pid == 0 or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
