"""The record of the last sync of two folders: what was alike on both sides, in a file of the state directory."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, LocalError
from ..core.fast_dataclass import fast_dataclass
from ..core.file_lock import locked
from ..core.private_file import ensure_private_dir, open_private, read_private, write_private
from .remote.rows import InvalidTable, ScanRow, pack, unpack

FOLDER = "sync"
LOCK_WAIT_S = 1.0
_FORMAT = 1


class Synced(NamedTuple):
    """A path after a sync. The modes can differ: not every file system keeps them."""

    source_mode: int
    target_mode: int
    size: int
    value: bytes


Paths = Mapping[bytes, Synced]


class CleanState(NamedTuple):
    """After a sync that left nothing to do: the stamps of both scans, and how many paths there were."""

    source: bytes
    target: bytes
    paths: int


@fast_dataclass(frozen=True)
class SyncRecord:
    """``pending``: what was about to be copied; some of it was, if the sync did not end."""

    synced: Paths
    pending: Paths
    clean: CleanState | None = None

    def settled(self, target: Mapping[bytes, ScanRow]) -> Paths:
        """``synced`` with those of ``pending`` that the target has. A folder gets its mode last: another mode than the
        expected one is set again."""
        arrived = {}
        for path, expected in self.pending.items():
            row, last = target.get(path), self.synced.get(path)
            if row is None or not is_content(expected, row):
                continue
            if row.mode == expected.source_mode:
                arrived[path] = expected
            elif last is None or not is_content(last, row):
                arrived[path] = expected._replace(source_mode=row.mode, target_mode=row.mode)
        return {**self.synced, **arrived} if arrived else self.synced


def is_content(expected: Synced, row: ScanRow) -> bool:
    """Whether ``row`` has its kind and content."""
    same = expected.value == row.value and expected.size == row.size
    return same and stat.S_IFMT(expected.source_mode) == stat.S_IFMT(row.mode)


class RecordFile:
    """The record of ``source`` and ``target``, two endpoints in words. Only the holder of its lock may save it."""

    def __init__(self, state: Path, source: str, target: str) -> None:
        self.folder = state / FOLDER
        self._sides = [source, target]
        self._path = self.folder / f"{_key(source, target)}.record"
        # Both directions of a pair have one lock.
        self._lock_path = self.folder / f"{_key(*sorted(self._sides))}.lock"

    @contextmanager
    def lock(self, deadline: Deadline) -> Iterator[None]:
        """Raises ``LocalError`` ``sync-running``, ``state-dir-unusable``, and ``Interrupted``."""
        try:
            ensure_private_dir(self.folder)
            with locked(self._lock_path, deadline.within(LOCK_WAIT_S)):
                yield
        except DeadlinePassed as error:
            if deadline.passed() and deadline.timeout_s <= LOCK_WAIT_S:
                raise
            what = "Another sync of these folders is running"
            raise LocalError("sync-running", what, " and ".join(self._sides)) from error
        except OSError as error:
            raise self._unusable(error) from error

    def load_clean(self) -> CleanState | None:
        """That of the record, which is not read. None if there is none."""
        try:
            with os.fdopen(open_private(self._path, os.O_RDONLY), "rb") as file:
                found = json.loads(file.readline())["clean"]
            return CleanState(bytes.fromhex(found[0]), bytes.fromhex(found[1]), found[2])
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None  # ``load`` says what is wrong

    def load(self) -> SyncRecord | None:
        """None if there is none. Raises ``LocalError`` ``state-unreadable``."""
        try:
            data = read_private(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        try:
            line, _, rest = data.partition(b"\n")
            header = json.loads(line)
            if header["format"] != _FORMAT or header["sides"] != self._sides:
                raise InvalidTable("it is of another version, or of other folders")
            length = header["synced_bytes"]
            return SyncRecord(_unpack(rest[:length]), _unpack(rest[length:]))
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(str(error)) from error

    def save(self, record: SyncRecord) -> None:
        """After a crash the old or the new one is there. Raises ``LocalError`` ``state-dir-unusable``."""
        synced = _pack(record.synced)
        header: dict[str, Any] = {"format": _FORMAT, "sides": self._sides, "synced_bytes": len(synced)}
        if record.clean is not None:
            header["clean"] = [record.clean.source.hex(), record.clean.target.hex(), record.clean.paths]
        try:
            write_private(self._path, json.dumps(header).encode() + b"\n" + synced + _pack(record.pending))
        except OSError as error:
            raise self._unusable(error) from error

    def _unreadable(self, why: str) -> LocalError:
        hint = f"Delete {self._path}: what differs on the target is then kept, and listed"
        return LocalError("state-unreadable", "Can't read the record of the last sync", why, hint)

    def _unusable(self, error: OSError) -> LocalError:
        return LocalError("state-dir-unusable", f"Can't use the directory {self.folder}", error.strerror or str(error))


def _key(*sides: str) -> str:
    return hashlib.sha256("\0".join(sides).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _pack(paths: Paths) -> bytes:
    columns = list(zip(*paths.values(), strict=True)) if paths else [(), (), (), ()]
    return pack(list(paths), columns[:-1], columns[-1])


def _unpack(data: bytes) -> Paths:
    names, columns, values = unpack(data, 3)
    return dict(zip(names, map(Synced, *columns, values), strict=True))


def local_side(path: str) -> str:
    """How a folder of this computer is named in a record: without links."""
    return os.path.realpath(path)
