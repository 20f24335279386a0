"""How many files this process may have open, and how many of them connections leave to everything else."""

from __future__ import annotations

import sys

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
