"""Lock files. The kernel releases a lock however its process ends. Only its holder deletes the
file."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .deadline import Deadline, wait_until
from .errors import LocalError
from .private_file import open_private


@contextmanager
def locked(path: Path, deadline: Deadline) -> Iterator[None]:
    """Hold the lock. Raises ``DeadlinePassed`` if another process holds it all that time, ``Interrupted``, ``OSError``
    if the file cannot be made, and ``LocalError`` ``state-dir-unusable`` if the file system has no locks."""
    while True:
        descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
        try:
            has_lock = functools.partial(_try_lock, path, descriptor)
            wait_until(has_lock, deadline, every_s=0.05, what=f"waiting for the lock {path.name}")
            if _is_file(path, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _is_file(path: Path, descriptor: int) -> bool:
    """False if the holder before deleted the file: the lock of the next one is another."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def is_locked(path: Path, *, offset: int = 0) -> bool:
    """Whether a process holds the lock now. ``offset``: the byte that it locks, which only Windows distinguishes.

    Raises ``LocalError`` ``state-dir-unusable`` when that cannot be known.
    """
    try:
        # The disk may be read-only by now; Windows locks only files that are open for writing.
        descriptor = open_private(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        what, why = f"Can't open the lock {path}", error.strerror or str(error)
        raise LocalError("state-dir-unusable", what, why) from error
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return not _try_lock(path, descriptor, shared=True)
    finally:
        os.close(descriptor)


def _try_lock(path: Path, descriptor: int, *, shared: bool = False) -> bool:
    try:
        return _lock_file(descriptor, shared=shared)
    except OSError as error:  # a network share without locks
        what, why = f"Files in {path.parent} can't be locked", error.strerror or str(error)
        hint = "Set `REMOTE_RUNTIME_STATE_DIR` to a directory on a local disk"
        raise LocalError("state-dir-unusable", what, why, hint) from error


if sys.platform == "win32":
    import msvcrt

    def _lock_file(descriptor: int, *, shared: bool = False) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock_file(descriptor: int, *, shared: bool = False) -> bool:
        # A probe takes a shared lock, so that two probes do not mistake each other for the holder.
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
