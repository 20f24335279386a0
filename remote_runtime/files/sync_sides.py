"""The two sides of a sync, scanned and changed in the same way: here directly, on the machine by the agent."""

from __future__ import annotations

import functools
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ..core.errors import LocalError
from ..core.sanitize import clean_line
from ..launcher.call import invalid_reply
from .agent import MAX_WHY_CHARS, Agent
from .remote.names import is_safe, to_path, to_text
from .remote.rows import ScanRow
from .remote.scan import HASH_BYTES, MODE_BITS
from .remote.scan_cache import STAMP_BYTES, ScanCache
from .remote.sync_requests import from_wire, to_wire
from .remote.synced_tree import SyncedTree, patterns_of
from .remote.target_tree import TargetTree

T = TypeVar("T")
MAX_ROWS = 5_000_000
PATHS_PER_CALL = 5_000
Problems = dict[bytes, str]
Rows = dict[bytes, ScanRow]
OnHashed = Callable[[int, int], None]


class Scan:
    """``problems``: paths that could not be read, and why. ``stamp``: equal for equal rows; empty if that is not known.
    ``load_rows``: called when ``rows`` is read first."""

    def __init__(
        self, exists: bool, problems: Problems, folds_case: bool, stamp: bytes, load_rows: Callable[[], Rows]
    ) -> None:
        self.exists, self.problems, self.folds_case, self.stamp = exists, problems, folds_case, stamp
        self._load_rows = load_rows

    @functools.cached_property
    def rows(self) -> Rows:
        return self._load_rows()


class SyncSide(Protocol):
    """``patterns``: what is ignored, as in ``IgnoreRules``. Raises ``LocalError`` or ``MachineError``
    ``file-request-failed`` for what concerns the whole folder."""

    def read_patterns(self) -> bytes: ...

    def scan(self, patterns: bytes, on_hashed: OnHashed) -> Scan:
        """``on_hashed``: gets the bytes that were hashed, and how many there are in all."""

    def rows_now(self, paths: Sequence[bytes]) -> tuple[Rows, Problems, bytes]:
        """After a scan: the rows of ``paths`` as they are by now, which the next scan need not hash; and the stamp of
        all rows with these."""

    def remove(self, rows: Mapping[bytes, ScanRow]) -> Problems:
        """After a scan: remove these paths, in this order, if they are still as in ``rows``. What stays, and why."""

    def set_modes(self, modes: Mapping[bytes, tuple[int, int]]) -> Problems:
        """Permissions; for folders also the time in nanoseconds."""


class LocalSide:
    def __init__(self, root: bytes, cache: ScanCache) -> None:
        self._root = root
        self._cache = cache
        self._tree = SyncedTree(TargetTree(root), b"", cache)

    def read_patterns(self) -> bytes:
        return self._attempt(patterns_of, self._root)

    def scan(self, patterns: bytes, on_hashed: OnHashed) -> Scan:
        self._tree = SyncedTree(TargetTree(self._root), patterns, self._cache)
        self._attempt(self._scan, on_hashed)
        found = self._tree.scanned
        return Scan(found.exists, found.problems, found.folds_case, found.stamp, lambda: found.rows)

    def rows_now(self, paths: Sequence[bytes]) -> tuple[Rows, Problems, bytes]:
        stamp, rows, problems = self._tree.rows_now(paths, self._tree.scanned.stamp)
        return rows, problems, stamp

    def remove(self, rows: Mapping[bytes, ScanRow]) -> Problems:
        return self._tree.remove(rows)

    def set_modes(self, modes: Mapping[bytes, tuple[int, int]]) -> Problems:
        return self._tree.set_modes(modes)

    def _scan(self, on_hashed: OnHashed) -> None:
        for done, total in self._tree.scan():
            on_hashed(done, total)

    def _attempt(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return work(*arguments)
        except OSError as error:
            what = f"Can't read {clean_line(to_text(self._root), MAX_WHY_CHARS)}"
            raise LocalError("folder-unreadable", what, error.strerror or str(error)) from error


class RemoteSide:
    """``cache``: of this computer, for the rows that the agent sent last. ``name``: distinguishes machines."""

    def __init__(self, agent: Agent, name: str, root: bytes, cache: ScanCache) -> None:
        self._agent = agent
        self._root = to_text(root)
        self._key = [name.encode(), root]
        self._cache = cache
        self._patterns = b""
        self._scanned: Scan | None = None
        self._stamp = b""

    def read_patterns(self) -> bytes:
        match self._agent.call({"do": "sync-patterns", "root": self._root}):
            case {"patterns": str(text)}:
                return _path(text)
        raise invalid_reply("expected patterns")

    def scan(self, patterns: bytes, on_hashed: OnHashed) -> Scan:
        self._patterns = patterns
        self._scanned = scanned = self._scan(self._cache.stamp(*self._key, patterns), on_hashed)
        return scanned

    def _scan(self, known: bytes, on_hashed: OnHashed) -> Scan:
        last: dict[str, Any] = {}
        rows: Rows = {}
        for answer in self._agent.stream(self._request("sync-scan", known=known.hex())):
            match answer:
                case {"hashed": int(done), "of": int(total)}:
                    on_hashed(done, total)
                case {"rows": str(table)}:
                    rows.update(_checked_rows(table))
                case {"stamp": str()}:
                    last = answer
                case _:
                    raise invalid_reply("a part of a scan of an unknown kind")
            if len(rows) > MAX_ROWS:
                raise invalid_reply(f"more than {MAX_ROWS} files")
        return self._take(last, rows, known)

    def _take(self, last: dict[str, Any], rows: Rows, known: bytes) -> Scan:
        match last:
            case {
                "exists": bool(exists), "stamp": str(stamp), "difference": bool(is_difference), "gone": list(gone),
                "problems": list(problems), "folds_case": bool(folds_case),
            }:  # fmt: skip
                self._stamp = _stamp(stamp)
                gone_paths = [_path(path) for path in gone]

                def load_rows() -> Rows:
                    found = rows
                    if is_difference:
                        kept_stamp, found = self._cache.load(*self._key, self._patterns)
                        if kept_stamp != known:  # another sync has replaced them
                            return self._scan(b"", lambda done, total: None).rows
                        for path in gone_paths:
                            found.pop(path, None)
                        found.update(rows)
                    if not is_difference or rows or gone_paths:
                        self._keep(found)
                    return found

                return Scan(exists, _problems(problems), folds_case, self._stamp, load_rows)
        raise invalid_reply("the end of a scan is missing")

    def rows_now(self, paths: Sequence[bytes]) -> tuple[Rows, Problems, bytes]:
        found: Rows = {}
        failures: Problems = {}
        for part in _parts(paths):
            request = self._request("sync-rows", paths=[to_text(path) for path in part], stamp=self._stamp.hex())
            match self._agent.call(request):
                case {"stamp": str(stamp), "rows": str(table), "problems": list(problems)}:
                    found.update(_checked_rows(table))
                    failures.update(_problems(problems))
                    self._stamp = _stamp(stamp)
                case _:
                    raise invalid_reply("expected rows")
        rows = dict(self._scanned.rows) if self._scanned is not None else {}
        for path in paths:
            rows.pop(path, None)
        self._keep({**rows, **found})
        return found, failures, self._stamp

    def remove(self, rows: Mapping[bytes, ScanRow]) -> Problems:
        failures: Problems = {}
        for part in _parts(list(rows)):
            table = to_wire({path: rows[path] for path in part})
            failures.update(self._problems_of(self._request("sync-remove", rows=table)))
        return failures

    def set_modes(self, modes: Mapping[bytes, tuple[int, int]]) -> Problems:
        failures: Problems = {}
        for part in _parts(list(modes)):
            wanted = [[to_text(path), *modes[path]] for path in part]
            failures.update(self._problems_of(self._request("sync-modes", modes=wanted)))
        return failures

    def _keep(self, rows: Rows) -> None:
        """What the agent knows by this stamp. Without one it sends everything again."""
        if self._stamp:
            self._cache.save(*self._key, self._patterns, rows=rows, stamp=self._stamp)

    def _request(self, do: str, **fields: Any) -> dict[str, Any]:
        return {"do": do, "root": self._root, "patterns": to_text(self._patterns), **fields}

    def _problems_of(self, request: dict[str, Any]) -> Problems:
        match self._agent.call(request):
            case {"problems": list(problems)}:
                return _problems(problems)
        raise invalid_reply("expected problems")


def _parts(paths: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(paths), PATHS_PER_CALL):
        yield paths[start : start + PATHS_PER_CALL]


def _checked_rows(table: str) -> Rows:
    try:
        rows = from_wire(table)
    except ValueError as error:
        raise invalid_reply(str(error)) from error
    for path, row in rows.items():
        match stat.S_IFMT(row.mode):
            case stat.S_IFREG:
                is_valid = len(row.value) == HASH_BYTES and row.size >= 0
            case stat.S_IFLNK:
                is_valid = b"\0" not in row.value and not row.size
            case kind:
                is_valid = kind == stat.S_IFDIR and not row.value and not row.size
        if not is_valid or row.mode & ~MODE_BITS:
            raise invalid_reply("a row that no scan finds")
        if not is_safe(path):
            raise invalid_reply("a path outside the folder")
    return rows


def _problems(problems: list[Any]) -> Problems:
    found: Problems = {}
    for each in problems:
        match each:
            case [str(path), str(why)]:
                found[_path(path)] = clean_line(why, MAX_WHY_CHARS)
            case _:
                raise invalid_reply("a problem of an unknown kind")
    return found


def _path(text: object) -> bytes:
    try:
        return to_path(str(text))
    except ValueError as error:
        raise invalid_reply("a path that is none") from error


def _stamp(text: str) -> bytes:
    try:
        stamp = bytes.fromhex(text)
    except ValueError as error:
        raise invalid_reply("a stamp that is none") from error
    return stamp if len(stamp) == STAMP_BYTES else b""
