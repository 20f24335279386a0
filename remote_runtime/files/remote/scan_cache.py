"""The rows of earlier scans, in a private folder of bounded size. Without it a scan hashes every file again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Mapping

from .rows import InvalidTable, ScanRow, pack_rows, unpack_rows

STAMP_BYTES = 16
MAX_CACHE_BYTES = 256 << 20
_SUFFIX = ".scan"
_TEMPORARY = ".tmp"
_MAX_TEMPORARY_AGE_S = 3600.0
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def default_folder() -> str:
    """On the machine, below the folder that is remote-runtime's there."""
    return os.path.join(os.path.expanduser("~"), ".local", "share", "remote-runtime", "scans")


class ScanCache:
    """``folder``: is made if it is missing, and not used if it is another user's."""

    def __init__(self, folder: str, *, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def stamp(self, *key: bytes) -> bytes:
        """That of the rows that are saved; empty if there are none."""
        try:
            with open(os.open(self._path(key), os.O_RDONLY | _SAFE), "rb") as file:
                return file.read(STAMP_BYTES) if _is_ours(os.fstat(file.fileno())) else b""
        except OSError:
            return b""

    def load(self, *key: bytes) -> tuple[bytes, dict[bytes, ScanRow]]:
        """The stamp and the rows that were saved; both are empty if there are none."""
        path = self._path(key)
        try:
            with open(os.open(path, os.O_RDONLY | _SAFE), "rb") as file:
                if not _is_ours(os.fstat(file.fileno())):
                    return b"", {}
                stamp, data = file.read(STAMP_BYTES), file.read()
            rows = unpack_rows(data)
        except (OSError, InvalidTable):
            return b"", {}
        with contextlib.suppress(OSError):  # the disk may be read-only by now
            os.utime(path)  # it has been used: others are removed first
        return stamp, rows

    def save(self, *key: bytes, rows: Mapping[bytes, ScanRow], stamp: bytes = b"") -> bytes:
        """The stamp that ``load`` returns for these rows; empty if they were not saved."""
        stamp = stamp or os.urandom(STAMP_BYTES)
        data = stamp + pack_rows(rows)
        try:
            self._make_folder()
            self._make_room(len(data))
            _write(self._path(key), data)
        except OSError:
            return b""
        return stamp

    def _path(self, key: tuple[bytes, ...]) -> str:
        name = hashlib.sha256(b"\0".join(key)).hexdigest()[:32]
        return os.path.join(self._folder, name + _SUFFIX)

    def _make_folder(self) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        if not _is_ours(os.lstat(self._folder)):
            raise PermissionError("it belongs to another user")
        os.chmod(self._folder, 0o700)

    def _make_room(self, needed: int) -> None:
        """Removes those that were not used for the longest time. Raises ``OSError`` if there can't be room."""
        if needed > self._max_bytes:
            raise OSError("it is too large to be kept")
        found: list[tuple[float, int, str]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith((_SUFFIX, _TEMPORARY)):
                        found.append((status.st_mtime, status.st_size, entry.path))
        used = needed + sum(size for _, size, _ in found)
        newest = max((used_at for used_at, _, _ in found), default=0.0)
        for used_at, size, path in sorted(found):
            is_stale = path.endswith(_TEMPORARY) and newest - used_at > _MAX_TEMPORARY_AGE_S
            if used > self._max_bytes or is_stale:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                used -= size


def _write(path: str, data: bytes) -> None:
    aside = f"{path}.{os.getpid()}.{os.urandom(4).hex()}{_TEMPORARY}"
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600), "wb") as file:
            file.write(data)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def _is_ours(status: os.stat_result) -> bool:
    return sys.platform == "win32" or status.st_uid == os.geteuid()
