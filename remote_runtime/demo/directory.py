"""The directory of a demo machine: private, locked while the machine runs, removed afterwards."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_LOCK_FILE = "machine.lock"


@dataclass(frozen=True)
class Directory:
    """``previous_id``: of the machine that was killed here and could not clean up, or empty."""

    path: Path
    previous_id: str
    lock: BinaryIO

    @classmethod
    @contextmanager
    def locked(cls, path: Path) -> Iterator[Directory]:
        """Made with mode 0700 if it is missing, emptied if a killed machine left it; removed with all that is in it.

        Raises ``OSError`` for a directory that holds anything else, belongs to someone else, or is in use.
        """
        path = path.absolute()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_ours(path)
        lock_file = path / _LOCK_FILE
        if not lock_file.exists() and any(path.iterdir()):
            raise OSError(f"{path} is not empty")
        with lock_file.open("a+b") as lock:
            _lock(lock, path)
            lock.seek(0)
            try:
                yield cls(path, lock.read(64).decode("ascii", "replace"), lock)
            finally:
                _empty(path)
                if os.name == "nt":  # an open file cannot be removed there
                    lock.close()
                shutil.rmtree(path, ignore_errors=True)

    def claim(self, machine_id: str) -> None:
        """Removes what the previous machine left, and writes ``machine_id`` to the lock file."""
        _empty(self.path)
        self.lock.seek(0)
        self.lock.truncate()
        self.lock.write(machine_id.encode())
        self.lock.flush()


def write_private(path: Path, content: bytes) -> None:
    """Writes ``path`` atomically, with mode 0600."""
    aside = path.with_name(f".{path.name}.new")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    os.replace(aside, path)


def _check_ours(path: Path) -> None:
    if sys.platform == "win32":
        return
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(f"{path} is not a directory")
    if found.st_uid != os.getuid():
        raise OSError(f"{path} belongs to another user")
    path.chmod(0o700)


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.name == _LOCK_FILE:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _lock(lock: BinaryIO, path: Path) -> None:
    """Locks it until the file is closed or the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            lock.seek(2**20)  # behind the content: Windows locks what it locks against reading too
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OSError(f"{path} belongs to a demo machine that is running") from error
