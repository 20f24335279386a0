"""Lock files: a held lock is life. The kernel releases it however the holder ends; the file itself is never deleted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .waits import Deadline, wait_until


@contextmanager
def held(path: Path, deadline: Deadline) -> Iterator[None]:
    """Hold the lock. Raises ``DeadlinePassed`` when somebody else holds it all that time, or ``Interrupted``."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        wait_until(lambda: _lock(descriptor), deadline, every_s=0.05, what=f"waiting for the lock {path.name}")
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path, *, at: int = 0) -> bool:
    """Whether a process holds the lock now. ``at``: the byte that it locks, which only Windows tells apart."""
    try:
        # A probe writes nothing, and the disk may be read-only by now; Windows locks what may be written.
        descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        os.lseek(descriptor, at, os.SEEK_SET)
        return not _lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, shared: bool = False) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool = False) -> bool:
        # A probe takes the lock shared, so that two probes do not take each other for a holder.
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
