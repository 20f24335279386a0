"""Hashes of the blocks of files: which parts of an interrupted copy are good already."""

from __future__ import annotations

import hashlib
import os
import stat

from .source_files import open_file
from .target_tree import TargetTree, aside_path
from .wire import read_at

DONE, PART, NOTHING = "done", "part", ""
_HASH_BYTES = 16


def hash_blocks(path: bytes, size: int, mtime_ns: int | None, start: int, length: int, block: int) -> list[str] | None:
    """Of ``length`` bytes from ``start``; ``block``: the bytes of each but the last. None if it is no file of this size
    and time (None: any)."""
    try:
        descriptor = open_file(path)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if status.st_size != size or mtime_ns not in (None, status.st_mtime_ns):
            return None
        end = start + length
        return [
            hashlib.blake2b(read_at(descriptor, offset, min(block, end - offset)), digest_size=_HASH_BYTES).hexdigest()
            for offset in range(start, end, block)
        ]
    except OSError:
        return None
    finally:
        os.close(descriptor)


def hash_left_over(
    tree: TargetTree, name: bytes, key: str, size: int, mtime_ns: int, start: int, length: int, block: int
) -> tuple[str, list[str]]:
    """What an earlier copy left of a file: ``DONE`` with the hashes of the file itself, ``PART`` with those of what was
    written aside, or ``NOTHING``."""
    try:
        path = tree.path(name)
    except OSError:
        return NOTHING, []
    for kind, at, time in ((DONE, path, mtime_ns), (PART, aside_path(path, key), None)):
        if _is_file(at):
            hashes = hash_blocks(at, size, time, start, length, block)
            if hashes is not None:
                return kind, hashes
    return NOTHING, []


def _is_file(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
