"""How many files this process may have open, and how many of them connections leave to everything else."""

from __future__ import annotations

import errno
import os
import sys

from ..core.errors import LocalError

MOST_CAUSES = 20
FEWEST = 12  # what a check of the whole path opens at once, and a little more
KEPT = 16  # for the control channel, a repair and the checks


def most_files() -> int | None:
    """The limit (``ulimit -n``); None where there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def is_among_the_last(descriptor: int) -> bool:
    """Whether so few files can still be opened that a connection with this one must not be kept. POSIX gives a new
    file the lowest number that is free."""
    most = most_files()
    return most is not None and descriptor >= most - KEPT


def lack(error: BaseException) -> LocalError | None:
    """What ``error`` comes of, if that is the limit of open files: it says so, or so few can be opened now that nothing
    works."""
    free = _free()
    return is_told(error) or (_too_few(f"{free} more can be opened: {error}") if free < FEWEST else None)


def check_room() -> None:
    """Whether any connection could be kept, beside all that is open now. Raises ``LocalError`` ``too-many-files``."""
    free = _free()
    if free <= KEPT + 1:
        raise _too_few(f"{free} more can be opened, and {KEPT} of them are kept for repairs")


def is_told(error: BaseException) -> LocalError | None:
    """The same, where ``error`` says so itself, or was raised from what does."""
    cause: BaseException | None = error
    for _ in range(MOST_CAUSES):  # one that was raised again while it was handled may be its own context
        if cause is None:
            break
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return _too_few(str(cause))
        cause = cause.__cause__ or cause.__context__
    return None


def _too_few(why: str) -> LocalError:
    most = most_files()
    limit = "" if most is None else f" (ulimit -n is {most})"
    what = "The process can open too few files on this computer"
    return LocalError("too-many-files", what, f"{why}{limit}", "Run `ulimit -n 1024`, then the same command again")


def _free() -> int:
    most = most_files()
    if most is None:
        return 2 * KEPT
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 0
    os.close(lowest)
    return most - lowest
