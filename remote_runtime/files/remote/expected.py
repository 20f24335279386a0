"""Whether a path is still as a scan found it, before it is replaced or removed."""

from __future__ import annotations

import errno
import os
import stat

from .rows import UNSURE, ScanRow
from .scan import MODE_BITS, hash_file

CHANGED_MEANWHILE = "it has changed meanwhile"


def check_is(path: bytes, row: ScanRow | None) -> None:
    """Raises ``OSError`` if ``path`` is not as in ``row``; None: nothing is there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        if row is None:
            return
        raise
    if row is None or stat.S_IFMT(status.st_mode) != stat.S_IFMT(row.mode):
        raise OSError(errno.EBUSY, CHANGED_MEANWHILE)
    if stat.S_ISLNK(status.st_mode):
        is_same = os.readlink(path) == row.value
    elif stat.S_ISREG(status.st_mode):
        is_same = (status.st_mode & MODE_BITS, status.st_size, status.st_mtime_ns) == (row.mode, row.size, row.mtime_ns)
        is_same = is_same and (
            hash_file(path).value == row.value if row.ctime_ns == UNSURE else status.st_ctime_ns == row.ctime_ns
        )
    else:
        is_same = True
    if not is_same:
        raise OSError(errno.EBUSY, CHANGED_MEANWHILE)
