"""How many files this process may have open, and how many of them connections leave to everything else."""

from __future__ import annotations

import errno
import os
import sys

from ..core.errors import LocalError

MAX_CAUSES = 20
MIN_FREE_FILES = 12  # what a check of the whole path opens at once, and a little more
RESERVED_FILES = 16  # for the control channel, a repair and the checks


def max_open_files() -> int | None:
    """The limit (``ulimit -n``); None where there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def is_reserved(descriptor: int) -> bool:
    """Whether so few files can still be opened that a connection with this one must not be kept. POSIX gives a new
    file the lowest number that is free."""
    limit = max_open_files()
    return limit is not None and descriptor >= limit - RESERVED_FILES


def shortage_error(error: BaseException) -> LocalError | None:
    """What ``error`` comes of, if that is the limit of open files: it says so, or so few can be opened now that nothing
    works."""
    free = _free_files()
    return reported_shortage(error) or (
        _shortage(f"{free} more can be opened: {error}") if free < MIN_FREE_FILES else None
    )


def check_free_files() -> None:
    """Whether any connection could be kept, beside all that is open now. Raises ``LocalError`` ``too-many-files``."""
    free = _free_files()
    if free <= RESERVED_FILES + 1:
        raise _shortage(f"{free} more can be opened, and {RESERVED_FILES} of them are kept for repairs")


def reported_shortage(error: BaseException) -> LocalError | None:
    """The same, where ``error`` says so itself, or was raised from what does."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):  # one that was raised again while it was handled may be its own context
        if cause is None:
            break
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return _shortage(str(cause))
        cause = cause.__cause__ or cause.__context__
    return None


def _shortage(why: str) -> LocalError:
    limit_count = max_open_files()
    limit = "" if limit_count is None else f" (ulimit -n is {limit_count})"
    what = "The process can open too few files on this computer"
    return LocalError("too-many-files", what, f"{why}{limit}", "Run `ulimit -n 1024`, then the same command again")


def _free_files() -> int:
    limit = max_open_files()
    if limit is None:
        return 2 * RESERVED_FILES
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 0
    os.close(lowest)
    return limit - lowest
