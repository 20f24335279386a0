"""Start child processes, some of which outlive the command that starts them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import LocalError

if TYPE_CHECKING:
    import subprocess

# The first statement for ``python -c``: nothing is imported from the current directory, which may be an untrusted one.
ISOLATED_SYS_PATH = "import sys; sys.path[:] = [entry for entry in sys.path if entry]; "


def start_python(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """``Popen`` of this interpreter. Raises ``LocalError`` ``python-gone``: an upgrade may have removed it."""
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
    """Arguments for ``Popen``: a new session, without this terminal and its signals."""
    if sys.platform == "win32":
        import subprocess

        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def kill_group(process: subprocess.Popen[Any]) -> None:
    """Kills a process that was started with ``start_new_session``; on POSIX its children, too."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def disable_core_dumps() -> None:
    """No crash writes this process's memory, with its tokens and unlocked keys, to the disk. Children may raise the
    limit again."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def has_ended(pid: int) -> bool:
    """Whether no process runs under this id, or only a zombie. True for 0."""
    import psutil

    try:
        return pid == 0 or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
