"""What a sync does: decided from both sides and the record of the last sync, without looking at a clock."""

from __future__ import annotations

import stat
import unicodedata
from collections.abc import Collection, Mapping

from ..core.fast_dataclass import fast_dataclass
from .remote.rows import ScanRow
from .remote.synced_tree import NOT_EMPTY as NOT_EMPTY
from .sync_record import Synced

CHANGED = "changed on the target"
NO_RECORD = "differs, and no sync is on record"
ONLY_THERE = "only on the target"
DELETED_IN_SOURCE = "no longer in the source"
FOLDER_IN_THE_WAY = "a folder is in its place"
BELOW_KEPT = "what is in its folder's place was kept"
NAMES_COLLIDE = "its name differs from another only in case"


@fast_dataclass(frozen=True)
class SyncOptions:
    delete: bool = False
    force: bool = False
    compares_modes: bool = True  # False where a side has none
    folds_case: bool = False  # the target's file system


@fast_dataclass(frozen=True)
class Side:
    """``unknown``: paths that could not be read, and why; with all that is in them."""

    rows: Mapping[bytes, ScanRow]
    unknown: Mapping[bytes, str]


@fast_dataclass(frozen=True)
class SyncPlan:
    """``removals``: in their order, what is in a folder before it; those of ``deleted`` have no successor, the others
    make room for another kind. ``modes``: paths of which only the mode is set. ``kept``: paths, and why they are not
    as in the source. ``failed``: paths that could not be read. ``synced``: the paths that are alike on both sides."""

    copies: list[bytes]
    modes: list[bytes]
    removals: list[bytes]
    deleted: frozenset[bytes]
    kept: dict[bytes, str]
    failed: dict[bytes, str]
    synced: dict[bytes, Synced]


def make_plan(source: Side, target: Side, record: Mapping[bytes, Synced], options: SyncOptions) -> SyncPlan:
    """``record``: what was alike after the last sync, or was being copied when it was cut off."""
    return _Planner(source, target, record, options).plan()


class _Planner:
    def __init__(self, source: Side, target: Side, record: Mapping[bytes, Synced], options: SyncOptions) -> None:
        self._source, self._target = source.rows, target.rows
        self._record, self._options = record, options
        self._unknown = {**{path: f"there: {why}" for path, why in target.unknown.items()}, **source.unknown}
        self._plan = SyncPlan([], [], [], frozenset(), {}, {}, {})
        self._deleted: set[bytes] = set()
        self._blocked: set[bytes] = set()  # folders of the source whose place is taken

    def plan(self) -> SyncPlan:
        plan = self._plan
        different = self._different_paths()
        plan.failed.update({path: why for path, why in self._unknown.items() if not _is_inside(path, self._unknown)})
        unknown = self._unknown.keys()
        collisions = self._name_collisions() if self._options.folds_case else {}
        gone: list[bytes] = []
        for path in sorted(different):
            if unknown and (path in unknown or _is_inside(path, unknown)):
                continue
            if path in collisions:
                plan.kept[path] = NAMES_COLLIDE
                self._blocked.add(path)
            elif path not in self._source:
                gone.append(path)
            elif self._blocked and _is_inside(path, self._blocked):
                plan.kept[path] = BELOW_KEPT
            else:
                self._plan_path(path)
        self._plan_gone(gone)
        plan.removals.sort(reverse=True)
        return SyncPlan(
            plan.copies, plan.modes, plan.removals, frozenset(self._deleted), plan.kept, plan.failed, plan.synced
        )

    def _different_paths(self) -> set[bytes]:
        """Fills ``synced`` with the others."""
        target, synced, has_modes = self._target, self._plan.synced, self._options.compares_modes
        different = self._target.keys() - self._source.keys()
        for path, row in self._source.items():
            other = target.get(path)
            if (
                other is not None
                and row.value == other.value
                and row.size == other.size
                and (row.mode == other.mode or (not has_modes and _kind(row) == _kind(other)))
            ):
                synced[path] = Synced(row.mode, other.mode, row.size, row.value)
            else:
                different.add(path)
        return different

    def _plan_path(self, path: bytes) -> None:
        row, other = self._source[path], self._target.get(path)
        if other is None:
            self._plan.copies.append(path)
            return
        last = self._record.get(path)
        is_unchanged = last is not None and _is_target(last, other) and last.target_mode == other.mode
        if not (is_unchanged or self._options.force):
            self._keep(path, CHANGED if last is not None else NO_RECORD)
        elif _kind(row) == _kind(other) and row.value == other.value and row.size == other.size:
            self._plan_mode(path, row, last)
        elif stat.S_ISDIR(other.mode):
            self._replace_folder(path)
        else:
            if stat.S_ISDIR(row.mode):
                self._plan.removals.append(path)
            self._plan.copies.append(path)

    def _plan_mode(self, path: bytes, row: ScanRow, last: Synced | None) -> None:
        """The target may be unable to keep the mode: it is set once for each change."""
        other = self._target[path]
        if last is not None and (last.source_mode, last.target_mode) == (row.mode, other.mode):
            self._plan.synced[path] = Synced(row.mode, other.mode, row.size, row.value)
        else:
            self._plan.modes.append(path)

    def _replace_folder(self, path: bytes) -> None:
        """A file or a link takes the place of a folder: everything in it would go."""
        inside = [each for each in self._target if each.startswith(path + b"/")]
        may_go = all(self._may_delete(each) for each in inside)
        if may_go and not any(each.startswith(path + b"/") for each in self._unknown):
            self._plan.removals.extend([*inside, path])
            self._deleted.update(inside)
            self._plan.copies.append(path)
        else:
            self._keep(path, FOLDER_IN_THE_WAY)

    def _plan_gone(self, paths: list[bytes]) -> None:
        """Of the paths that only the target has."""
        goes: set[bytes] = set(self._deleted)
        kept: dict[bytes, str] = {}
        for path in reversed(paths):  # what is in a folder comes before it
            if path in goes:
                continue
            if not self._may_delete(path):
                last = self._record.get(path)
                is_ours = last is not None and _is_target(last, self._target[path])
                kept[path] = DELETED_IN_SOURCE if is_ours else CHANGED if last is not None else ONLY_THERE
            else:
                goes.add(path)
        holding = {parent for path in kept for parent in _parents(path)}
        holding.update(parent for path in self._unknown for parent in _parents(path))
        for path in goes & holding:
            kept[path] = NOT_EMPTY
        removed = goes - kept.keys() - self._deleted
        self._plan.removals.extend(removed)
        self._deleted.update(removed)
        self._plan.kept.update(sorted(kept.items()))

    def _may_delete(self, path: bytes) -> bool:
        if not self._options.delete:
            return False
        last = self._record.get(path)
        return self._options.force or (last is not None and _is_target(last, self._target[path]))

    def _keep(self, path: bytes, why: str) -> None:
        self._plan.kept[path] = why
        row, other = self._source[path], self._target[path]
        if stat.S_ISDIR(row.mode) and not stat.S_ISDIR(other.mode):
            self._blocked.add(path)

    def _name_collisions(self) -> Collection[bytes]:
        """Paths of the source that the target takes for others, of which the first stays."""
        first: dict[str, bytes] = {}
        for path in self._target:
            first.setdefault(_folded(path), path)
        collisions = set()
        for path in sorted(self._source):
            if first.setdefault(_folded(path), path) != path:
                collisions.add(path)
        return collisions


def _is_target(last: Synced, row: ScanRow) -> bool:
    """Whether the target is as it was then. The mode of a folder does not count: nothing is lost with it."""
    same = last.value == row.value and last.size == row.size
    return same and (last.target_mode == row.mode or (stat.S_ISDIR(row.mode) and stat.S_ISDIR(last.target_mode)))


def _kind(row: ScanRow) -> int:
    return stat.S_IFMT(row.mode)


def _parents(path: bytes) -> list[bytes]:
    return [path[:at] for at, char in enumerate(path) if char == 0x2F]


def _is_inside(path: bytes, folders: Collection[bytes]) -> bool:
    return any(parent in folders for parent in _parents(path))


def _folded(path: bytes) -> str:
    return unicodedata.normalize("NFC", path.decode("utf-8", "surrogateescape")).casefold()
