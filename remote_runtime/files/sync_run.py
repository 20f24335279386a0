"""One sync: scans both sides at the same time, makes the plan, carries it out, and saves what was really done."""

from __future__ import annotations

import contextlib
import queue
import stat
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

from ..core.errors import UsageError
from ..core.fast_dataclass import fast_dataclass
from .items import Item, ItemFailure
from .remote.ignore import IgnoreRules, InvalidPattern
from .remote.rows import ScanRow
from .sync_plan import NOT_EMPTY, Side, SyncOptions, SyncPlan, make_plan
from .sync_record import CleanState, Paths, RecordFile, Synced, SyncRecord, is_content
from .sync_sides import Problems, Scan, SyncSide

DIFFERS = "it differs from the source after the copy"
_ROOT = b"."
_POLL_S = 0.1


class Steps(Protocol):
    """What the caller does and shows during a sync."""

    def scanning(self) -> None: ...
    def hashed(self, where: str, done: int, total: int) -> None:
        """``where``: ``here`` or ``there``. From any thread."""

    def confirm(self, files: int, size: int, *, is_first: bool) -> None:
        """Before anything is changed. Raises ``UsageError``."""

    def removing(self, count: int) -> None: ...
    def transfer(self, items: Sequence[Item], expected: Mapping[bytes, ScanRow | None]) -> list[ItemFailure]: ...
    def checking(self) -> None: ...
    def check_cancelled(self) -> None:
        """Raises ``Interrupted``."""


@fast_dataclass(frozen=True)
class SyncOutcome:
    """``kept``: what is not as in the source, and why; ``failed``: what could not be read or written. ``synced``: how
    many paths are alike now."""

    copied: list[bytes]
    deleted: list[bytes]
    modes: list[bytes]
    kept: Problems
    failed: Problems
    copied_bytes: int
    synced: int


class Sync:
    """``source_scan`` and ``patterns``: what ``run`` found. The caller holds the lock of ``record_file``."""

    def __init__(
        self, source: SyncSide, target: SyncSide, record_file: RecordFile, options: SyncOptions, steps: Steps
    ) -> None:
        self._source, self._target = source, target
        self._record_file = record_file
        self._options = options
        self._steps = steps
        self.patterns = b""
        self.source_scan: Scan | None = None

    def run(self) -> SyncOutcome:
        """Raises ``RemoteRuntimeError``; what was done until then is on record."""
        clean = self._record_file.load_clean()
        self._steps.scanning()
        self.patterns = checked_patterns(self._source)
        source, target = self._scan_both(self.patterns)
        if not source.exists:
            raise UsageError("sync-source-missing", "The source of the sync is not there")
        self.source_scan = source
        is_same = clean is not None and (source.stamp, target.stamp) == (clean.source, clean.target)
        if clean is not None and is_same and not source.problems and not target.problems:
            return SyncOutcome([], [], [], {}, {}, 0, clean.paths)
        record = self._record_file.load()
        last = record.settled(target.rows) if record is not None else {}
        self._refuse_empty(source, last)
        options = SyncOptions(
            self._options.delete, self._options.force, self._options.compares_modes, target.folds_case
        )
        plan = make_plan(Side(source.rows, source.problems), Side(target.rows, target.problems), last, options)
        return self._carry_out(plan, source, target, last, record)

    def _scan_both(self, patterns: bytes) -> tuple[Scan, Scan]:
        """At the same time: one of them waits for the machine."""
        results: queue.SimpleQueue[tuple[str, Scan | BaseException]] = queue.SimpleQueue()

        def scan(name: str, side: SyncSide) -> None:
            try:
                results.put((name, side.scan(patterns, lambda done, total: self._steps.hashed(name, done, total))))
            except BaseException as error:  # noqa: BLE001  # the caller raises it
                results.put((name, error))

        for name, side in (("source", self._source), ("target", self._target)):
            threading.Thread(target=scan, args=(name, side), daemon=True, name=f"sync-scan-{name}").start()
        found: dict[str, Scan] = {}
        errors: list[BaseException] = []
        while len(found) + len(errors) < 2:
            self._steps.check_cancelled()
            with contextlib.suppress(queue.Empty):
                name, result = results.get(timeout=_POLL_S)
                if isinstance(result, BaseException):
                    errors.append(result)
                else:
                    found[name] = result
        for error in errors:
            raise error
        return found["source"], found["target"]

    def _refuse_empty(self, source: Scan, last: Paths) -> None:
        if self._options.delete and not self._options.force and last and not source.rows:
            why = f"with --delete, {len(last)} files of the target would be deleted"
            raise UsageError("sync-source-empty", "The source of the sync is empty", why)

    def _carry_out(
        self, plan: SyncPlan, source: Scan, target: Scan, last: Paths, record: SyncRecord | None
    ) -> SyncOutcome:
        items = [_item(path, source.rows[path]) for path in plan.copies]
        size = sum(item.size for item in items)
        failed = dict(plan.failed)
        kept_on_record = _still_on_record(plan, source, target, last)
        touched = [*plan.removals, *plan.copies, *plan.modes]
        if not touched:
            self._save(record, {**plan.synced, **kept_on_record}, _clean(plan, source.stamp, target.stamp))
            return SyncOutcome([], [], [], plan.kept, failed, 0, len(plan.synced))
        self._steps.confirm(sum(item.kind == "file" for item in items), size, is_first=record is None)
        pending = {path: _synced(source.rows[path], source.rows[path]) for path in [*plan.copies, *plan.modes]}
        self._record_file.save(SyncRecord(last, pending))
        if plan.removals:
            self._steps.removing(len(plan.removals))
            stays = self._target.remove({path: target.rows[path] for path in plan.removals})
            # Only what is ignored can be in it.
            plan.kept.update({path: why for path, why in stays.items() if why == NOT_EMPTY})
            failed.update({path: why for path, why in stays.items() if why != NOT_EMPTY})
        if items:
            self._make_root(target)
            expected = {path: target.rows.get(path) for path in plan.copies if not stat.S_ISDIR(source.rows[path].mode)}
            expected.update({path: None for path in plan.removals if path in expected})
            failures = self._steps.transfer(items, expected)
            failed.update({failure.item.target: failure.why for failure in failures})
        failed.update(self._target.set_modes({path: _mode(source.rows[path]) for path in plan.modes}))
        return self._finish(plan, source, target, last, failed, kept_on_record)

    def _make_root(self, target: Scan) -> None:
        if not target.exists:
            for failure in self._steps.transfer([Item(b"", _ROOT, "folder", mode=0o755)], {}):
                raise UsageError("sync-target-unusable", "Can't make the folder that is the target", failure.why)

    def _finish(
        self,
        plan: SyncPlan,
        source: Scan,
        target: Scan,
        last: Paths,
        failed: Problems,
        kept_on_record: dict[bytes, Synced],
    ) -> SyncOutcome:
        self._steps.checking()
        touched = [*plan.removals, *plan.copies, *plan.modes]
        rows, problems, stamp = self._target.rows_now(list(dict.fromkeys(touched)))
        synced = {**plan.synced, **kept_on_record}
        done: set[bytes] = set()
        for path in [*plan.copies, *plan.modes]:
            expected, row = _synced(source.rows[path], source.rows[path]), rows.get(path)
            if path in failed:
                if path in last:
                    synced[path] = last[path]
            elif row is not None and is_content(expected, row):
                synced[path] = expected._replace(target_mode=row.mode)
                done.add(path)
            else:  # another program has changed it since, or the source kept its time when it changed
                synced[path] = expected
                failed[path] = problems.get(path, DIFFERS)
        deleted = [path for path in plan.removals if path in plan.deleted and path not in rows and path not in failed]
        for path in plan.deleted - set(deleted):
            if path in last:
                synced[path] = last[path]
        self._set_folder_times(plan, source, target)
        clean = _clean(plan, source.stamp, stamp) if not failed else None
        self._record_file.save(SyncRecord(synced, {}, clean))
        return SyncOutcome(
            [path for path in plan.copies if path in done],
            sorted(deleted),
            [path for path in plan.modes if path in done],
            plan.kept,
            failed,
            sum(source.rows[path].size for path in plan.copies if path in done),
            len(plan.synced) + len(done),
        )

    def _set_folder_times(self, plan: SyncPlan, source: Scan, target: Scan) -> None:
        """Of the folders in which something was changed. It is no failure if that is impossible."""
        parents = {path.rpartition(b"/")[0] for path in [*plan.removals, *plan.copies]}
        alike = [path for path in parents if path in plan.synced and source.rows[path].mode == target.rows[path].mode]
        self._target.set_modes({path: _mode(source.rows[path]) for path in sorted(alike, reverse=True)})

    def _save(self, record: SyncRecord | None, synced: dict[bytes, Synced], clean: CleanState | None) -> None:
        if clean is not None or record is None or record.pending or record.synced != synced:
            self._record_file.save(SyncRecord(synced, {}, clean))


def checked_patterns(source: SyncSide) -> bytes:
    """The patterns of the source. Raises ``UsageError`` ``ignore-file-invalid``."""
    patterns = source.read_patterns()
    try:
        IgnoreRules(patterns)
    except InvalidPattern as error:
        raise UsageError("ignore-file-invalid", "The file .remote-runtime-ignore has an error", str(error)) from error
    return patterns


def _still_on_record(plan: SyncPlan, source: Scan, target: Scan, last: Paths) -> dict[bytes, Synced]:
    """Of the paths that are neither alike nor changed now."""
    unknown = source.problems.keys() | target.problems.keys()
    found = {path: last[path] for path in plan.kept if path in last}
    for path in last.keys() - plan.synced.keys() if unknown else ():
        if path in unknown or any(path.startswith(folder + b"/") for folder in unknown):
            found[path] = last[path]
    return found


def _clean(plan: SyncPlan, source_stamp: bytes, target_stamp: bytes) -> CleanState | None:
    """None if something is to be listed, or decided, again the next time."""
    if plan.kept or plan.failed or not source_stamp or not target_stamp:
        return None
    return CleanState(source_stamp, target_stamp, len(plan.synced) + len(plan.copies) + len(plan.modes))


def _synced(row: ScanRow, other: ScanRow) -> Synced:
    return Synced(row.mode, other.mode, row.size, row.value)


def _mode(row: ScanRow) -> tuple[int, int]:
    return stat.S_IMODE(row.mode), row.mtime_ns


def _item(path: bytes, row: ScanRow) -> Item:
    mode = stat.S_IMODE(row.mode)
    if stat.S_ISDIR(row.mode):
        return Item(path, path, "folder", 0, mode, row.mtime_ns)
    if stat.S_ISLNK(row.mode):
        return Item(path, path, "link", 0, mode, row.mtime_ns, row.value)
    return Item(path, path, "file", row.size, mode, row.mtime_ns)
