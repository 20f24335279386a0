"""Walks a folder, and hashes the files of which the cache has no hash. The same code runs on both computers."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping

from .ignore import IgnoreRules
from .rows import UNSURE, ScanRow

HASH_BYTES = 20
# The kind and the permissions. Systems give links different ones.
MODE_BITS = 0o170777
LINK_MODE = stat.S_IFLNK | 0o777
MAX_INODE = (1 << 63) - 1
PROGRESS_INTERVAL_S = 0.25
# A file that is written again within the resolution of its times can keep them. Linux's tick is up to 10 ms; where the
# times are whole seconds, the resolution can be FAT's.
_FINE_NS = 100_000_000
_COARSE_NS = 2_100_000_000
_SECOND_NS = 1_000_000_000
_READ_BYTES = 1 << 20
_MAX_READS = 3
_OPEN = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
# What a copy has not renamed yet.
_ASIDE = re.compile(rb"\..*\.[0-9a-f]+\.part", re.DOTALL)
SPECIAL = "it is a device, a pipe or a socket"


class Scanner:
    """A scan of ``root``. ``cached``: rows of an earlier one. After ``walk`` and ``hash_files``:

    ``rows``: by path from the root, with slashes. ``problems``: paths of which nothing more is known, and why; for a
    folder, of nothing in it either. ``changed``: whether ``rows`` differs from ``cached``.
    """

    def __init__(self, root: bytes, rules: IgnoreRules, cached: Mapping[bytes, ScanRow]) -> None:
        self.root = root
        self.rows: dict[bytes, ScanRow] = {}
        self.problems: dict[bytes, str] = {}
        self.changed = False
        self.bytes_to_hash = 0
        self._rules = rules
        self._cached = cached
        self._to_hash: list[bytes] = []

    def walk(self) -> None:
        """Raises ``OSError`` if the root cannot be read."""
        pending = [(self.root, b"")]
        while pending:
            folder, prefix = pending.pop()
            try:
                self._list(folder, prefix, pending)
            except OSError as exc:
                if not prefix:
                    raise
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR):  # it has vanished meanwhile
                    self.problems[prefix[:-1]] = exc.strerror or str(exc)
        self.changed = self.changed or len(self.rows) + len(self._to_hash) != len(self._cached)

    def hash_files(self) -> Iterator[int]:
        """Yields how many bytes have been hashed, a few times a second."""
        size, shown = 0, time.monotonic()
        for path in self._to_hash:
            try:
                row = hash_file(os.path.join(self.root, path))
            except OSError as exc:
                self.changed = True
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
                    self.problems[path] = exc.strerror or str(exc)
                continue
            self.changed = self.changed or row != self._cached.get(path)
            self.rows[path] = row
            size += row.size
            if time.monotonic() - shown > PROGRESS_INTERVAL_S:
                shown = time.monotonic()
                yield size

    def _list(self, folder: bytes, prefix: bytes, pending: list[tuple[bytes, bytes]]) -> None:
        ignores, cached, rows = self._rules.ignores, self._cached, self.rows
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                path = prefix + name
                is_folder = entry.is_dir(follow_symlinks=False)
                if ignores(path, name, is_folder=is_folder) or (name[-5:] == b".part" and _ASIDE.fullmatch(name)):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                mode, old = status.st_mode & MODE_BITS, cached.get(path)
                if stat.S_ISREG(mode):
                    if old is not None and old[:5] == (
                        mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & MAX_INODE,
                    ):  # fmt: skip
                        rows[path] = old
                        continue
                    self._to_hash.append(path)
                    self.bytes_to_hash += status.st_size
                    continue
                if is_folder:
                    value = b""
                    pending.append((entry.path, path + b"/"))
                elif stat.S_ISLNK(mode):
                    mode, value = LINK_MODE, os.readlink(entry.path)
                else:
                    self.problems[path] = SPECIAL
                    continue
                row = ScanRow(mode, 0, status.st_mtime_ns, 0, 0, value)
                self.changed = self.changed or old is None or old.mode != mode or old.value != value
                rows[path] = row


def hash_file(path: bytes) -> ScanRow:
    """Raises ``OSError``; of what is no file too. A file that changes while it is read gets a row that no later scan
    takes for current."""
    descriptor = os.open(path, _OPEN)
    try:
        for _ in range(_MAX_READS):
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, SPECIAL)
            digest = hashlib.blake2b(digest_size=HASH_BYTES)
            size = _read_into(digest, descriptor)
            now_ns = time.time_ns()
            after = os.fstat(descriptor)
            is_stable = size == after.st_size and _times(before) == _times(after)
            if is_stable:
                break
            os.lseek(descriptor, 0, os.SEEK_SET)
    finally:
        os.close(descriptor)
    mode, digest_bytes = after.st_mode & MODE_BITS, digest.digest()
    if is_stable and not _is_recent(after, now_ns):
        # On Windows a scan learns no inode.
        inode = after.st_ino & MAX_INODE if os.name != "nt" else 0
        return ScanRow(mode, size, after.st_mtime_ns, after.st_ctime_ns, inode, digest_bytes)
    return ScanRow(mode, size, after.st_mtime_ns, UNSURE, 0, digest_bytes)


def row_at(root: bytes, path: bytes) -> ScanRow | None:
    """The row of one path now, None if nothing is there. Raises ``OSError``."""
    at = os.path.join(root, path)
    try:
        status = os.lstat(at)
        if stat.S_ISREG(status.st_mode):
            return hash_file(at)
        if stat.S_ISDIR(status.st_mode):
            return ScanRow(status.st_mode & MODE_BITS, 0, status.st_mtime_ns, 0, 0, b"")
        if stat.S_ISLNK(status.st_mode):
            return ScanRow(LINK_MODE, 0, status.st_mtime_ns, 0, 0, os.readlink(at))
    except (FileNotFoundError, NotADirectoryError):
        return None
    raise OSError(errno.EINVAL, SPECIAL)


def folds_case(root: bytes) -> bool:
    """Whether ``A`` and ``a`` are one file there. Looks at names that exist, and writes nothing."""
    names = [os.path.join(root, name) for name in os.listdir(root)]
    for path in [*names[:100], os.path.abspath(root)]:
        folder, name = os.path.split(path)
        other = name.swapcase()
        if other != name:
            try:
                return os.path.samestat(os.lstat(path), os.lstat(os.path.join(folder, other)))
            except OSError:
                return False
    return os.name == "nt"


def _read_into(digest: hashlib.blake2b, descriptor: int) -> int:
    size = 0
    while True:
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            return size
        digest.update(data)
        size += len(data)


def _times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_recent(status: os.stat_result, now_ns: int) -> bool:
    is_coarse = not (status.st_mtime_ns % _SECOND_NS or status.st_ctime_ns % _SECOND_NS)
    return status.st_ctime_ns > now_ns - (_COARSE_NS if is_coarse else _FINE_NS)
