"""The limit of open files, and how many of them connections leave for everything else."""

from __future__ import annotations

import errno
import os
import sys

from .errors import LocalError

MAX_CAUSES = 20
MAX_CONNECTIONS = 1024
FILES_PER_CONNECTION = 3  # its client, its upstream connection, the selector of both
OTHER_FILES = 64
MIN_FREE_FILES = 12  # a little more than a health check opens at once
RESERVED_FILES = 16  # for the control channel, a reconnect and the health checks


def max_open_files() -> int | None:
    """The limit (``ulimit -n``); None if there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def max_connections() -> int:
    """As many as the limit of open files allows."""
    limit = max_open_files()
    if limit is None:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(1, (limit - min(OTHER_FILES, limit // 2)) // FILES_PER_CONNECTION))


def is_reserved(descriptor: int) -> bool:
    """Whether this is one of the last ``RESERVED_FILES`` descriptors, which connections must not use. POSIX gives a new
    file the lowest free number."""
    limit = max_open_files()
    return limit is not None and descriptor >= limit - RESERVED_FILES


def shortage_error(error: BaseException) -> LocalError | None:
    """The error to report if ``error`` was caused by the limit of open files: it says so, or fewer than
    ``MIN_FREE_FILES`` can be opened now."""
    free = _free_files()
    return reported_shortage(error) or (
        _shortage(f"{free} more can be opened: {error}") if free < MIN_FREE_FILES else None
    )


def check_free_files() -> None:
    """Whether there are files for a connection. Raises ``LocalError`` ``too-many-files``."""
    free = _free_files()
    if free <= RESERVED_FILES + 1:
        raise _shortage(f"{free} more can be opened, and {RESERVED_FILES} of them are kept for repairs")


def reported_shortage(error: BaseException) -> LocalError | None:
    """The same if ``error``, or an exception that it was raised from, says so."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):  # an exception can be its own context
        if cause is None:
            break
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return _shortage(str(cause))
        cause = cause.__cause__ or cause.__context__
    return None


def _shortage(why: str) -> LocalError:
    limit_count = max_open_files()
    limit = "" if limit_count is None else f" (ulimit -n is {limit_count})"
    what = "Too many open files"
    return LocalError("too-many-files", what, f"{why}{limit}", "Run `ulimit -n 1024`, then this command again")


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
