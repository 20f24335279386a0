"""A folder that is one side of a sync, on either computer: it is scanned, and the target is changed."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import stat
from collections.abc import Iterator, Mapping, Sequence

from .expected import CHANGED_MEANWHILE, check_is
from .ignore import DEFAULT_PATTERNS, IGNORE_FILE, MAX_IGNORE_BYTES, IgnoreRules
from .rows import ScanRow
from .scan import Scanner, folds_case, row_at
from .scan_cache import ScanCache
from .source_files import read_file
from .target_tree import TargetTree

NOT_EMPTY = "it is not empty"


class ScannedTree:
    """What a scan found. ``cached``: the rows that had the stamp ``cached_stamp``; ``stamp``: of ``rows``, if they are
    kept. ``exists`` is False if there is no folder."""

    def __init__(
        self, exists: bool, rows: dict[bytes, ScanRow], problems: dict[bytes, str], folds: bool = False
    ) -> None:
        self.exists = exists
        self.rows = rows
        self.problems = problems
        self.folds_case = folds
        self.cached: Mapping[bytes, ScanRow] = {}
        self.cached_stamp = self.stamp = b""


class SyncedTree:
    """``tree``: writes below the folder. ``patterns``: what is ignored."""

    def __init__(self, tree: TargetTree, patterns: bytes, cache: ScanCache) -> None:
        self._tree = tree
        self._root = tree.root
        self._patterns = patterns
        self._cache = cache
        self._key = (os.path.abspath(tree.root), patterns)
        self.scanned = ScannedTree(False, {}, {})

    def scan(self) -> Iterator[tuple[int, int]]:
        """Sets ``scanned``; yields how many of how many bytes have been hashed. Raises ``OSError``, also if the root is
        no folder, and ``InvalidPattern``."""
        was_collecting = gc.isenabled()
        gc.disable()  # it would look at all rows again and again, and find nothing
        try:
            yield from self._scan()
        finally:
            if was_collecting:
                gc.enable()

    def _scan(self) -> Iterator[tuple[int, int]]:
        rules = IgnoreRules(self._patterns)
        try:
            os.stat(self._root)
        except FileNotFoundError:
            self.scanned = ScannedTree(False, {}, {})
            return
        stamp, cached = self._cache.load(*self._key)
        scanner = Scanner(self._root, rules, cached)
        scanner.walk()
        for size in scanner.hash_files():
            yield size, scanner.bytes_to_hash
        self.scanned = scanned = ScannedTree(True, scanner.rows, scanner.problems, folds_case(self._root))
        scanned.cached, scanned.cached_stamp = cached, stamp
        is_kept = stamp and not scanner.changed
        scanned.stamp = stamp if is_kept else self._cache.save(*self._key, rows=scanner.rows)

    def rows_now(self, paths: Sequence[bytes], stamp: bytes) -> tuple[bytes, dict[bytes, ScanRow], dict[bytes, str]]:
        """The rows of ``paths`` that exist, and why others cannot be read; a new stamp for the rows of ``stamp`` with
        these changes, if they are still kept."""
        rows, problems = {}, {}
        for path in paths:
            try:
                self._tree.path(path)
                row = row_at(self._root, path)
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
                    problems[path] = exc.strerror or str(exc)
                continue
            if row is not None:
                rows[path] = row
        found, kept = self._cache.load(*self._key)
        if not stamp or found != stamp:
            return b"", rows, problems
        for path in paths:
            kept.pop(path, None)
        kept.update(rows)
        return self._cache.save(*self._key, rows=kept), rows, problems

    def remove(self, rows: Mapping[bytes, ScanRow]) -> dict[bytes, str]:
        """Remove paths, in this order, that are as in ``rows``; a folder only if it is empty. Why others stay."""
        failures = {}
        for path, row in rows.items():
            try:
                check_is(self._tree.path(path), row)
                self._tree.remove(path)
            except FileNotFoundError:
                continue
            except OSError as exc:
                is_full = exc.errno in (errno.ENOTEMPTY, errno.EEXIST)
                failures[path] = NOT_EMPTY if is_full else exc.strerror or str(exc)
        return failures

    def set_modes(self, modes: Mapping[bytes, tuple[int, int]]) -> dict[bytes, str]:
        """Set permissions, and for a folder the time of its last change. Why it failed."""
        failures = {}
        for path, (mode, mtime_ns) in modes.items():
            try:
                at = self._tree.path(path)
                kind = os.lstat(at).st_mode
                if stat.S_ISLNK(kind):
                    raise OSError(errno.ELOOP, CHANGED_MEANWHILE)
                os.chmod(at, mode)
                if stat.S_ISDIR(kind):
                    os.utime(at, ns=(mtime_ns, mtime_ns))
            except OSError as exc:
                failures[path] = exc.strerror or str(exc)
        return failures


def patterns_of(root: bytes) -> bytes:
    """What a source ignores. Raises ``OSError``."""
    own = b""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        own, _ = read_file(os.path.join(root, IGNORE_FILE), MAX_IGNORE_BYTES)
    return DEFAULT_PATTERNS + own
