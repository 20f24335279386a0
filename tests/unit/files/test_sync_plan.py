"""What a sync decides, for one path and for random trees."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.files.remote.rows import ScanRow
from remote_runtime.files.sync_plan import (
    BELOW_KEPT,
    CHANGED,
    DELETED_IN_SOURCE,
    FOLDER_IN_THE_WAY,
    NAMES_COLLIDE,
    NO_RECORD,
    NOT_EMPTY,
    ONLY_THERE,
    Side,
    SyncOptions,
    SyncPlan,
    make_plan,
)
from remote_runtime.files.sync_record import Synced, SyncRecord

Rows = dict[bytes, ScanRow]
Record = dict[bytes, Synced]
FOLDER = ScanRow(stat.S_IFDIR | 0o755, 0, 1, 0, 0, b"")
DELETE, FORCE, BOTH = SyncOptions(delete=True), SyncOptions(force=True), SyncOptions(delete=True, force=True)


def file(content: str, mode: int = 0o644) -> ScanRow:
    return ScanRow(stat.S_IFREG | mode, len(content), 1, 2, 3, content.encode())


def link(to: str) -> ScanRow:
    return ScanRow(stat.S_IFLNK | 0o777, 0, 1, 0, 0, to.encode())


def synced(rows: Rows) -> Record:
    return {path: Synced(row.mode, row.mode, row.size, row.value) for path, row in rows.items()}


def plan(source: Rows, target: Rows, record: Rows | None = None, options: SyncOptions | None = None) -> SyncPlan:
    return make_plan(Side(source, {}), Side(target, {}), synced(record or {}), options or SyncOptions())


@pytest.mark.parametrize(
    ("source", "target", "last", "options", "action", "why"),
    [
        ("new", None, None, None, "copy", ""),
        ("new", "old", "old", None, "copy", ""),
        ("new", None, "old", None, "copy", ""),  # deleted on the target: nothing of it can be lost
        ("same", "same", None, None, "", ""),
        ("old", "theirs", "old", None, "", CHANGED),
        ("new", "theirs", "old", None, "", CHANGED),
        ("new", "theirs", "old", FORCE, "copy", ""),
        ("new", "theirs", None, None, "", NO_RECORD),
        ("new", "theirs", None, FORCE, "copy", ""),
        (None, "old", "old", None, "", DELETED_IN_SOURCE),
        (None, "old", "old", DELETE, "delete", ""),
        (None, "theirs", "old", DELETE, "", CHANGED),
        (None, "theirs", "old", FORCE, "", CHANGED),
        (None, "theirs", "old", BOTH, "delete", ""),
        (None, "theirs", None, DELETE, "", ONLY_THERE),
        (None, "theirs", None, BOTH, "delete", ""),
    ],
)
def test_each_case_of_one_file(
    source: str | None, target: str | None, last: str | None, options: SyncOptions | None, action: str, why: str
) -> None:
    ours, theirs, recorded = ({b"path": file(text)} if text else {} for text in (source, target, last))

    made = plan(ours, theirs, recorded, options)

    assert made.copies == [b"path"] * (action == "copy")
    assert made.removals == [b"path"] * (action == "delete")
    assert made.kept == ({b"path": why} if why else {})


def test_only_the_mode_travels_if_only_the_mode_changed() -> None:
    old, new = {b"path": file("text")}, {b"path": file("text", 0o755)}

    assert plan(new, old, old).modes == [b"path"]
    assert plan(old, new, old).kept == {b"path": CHANGED}
    assert plan(old, new, old, FORCE).modes == [b"path"]
    assert plan(old, new, None).kept == {b"path": NO_RECORD}
    assert plan(new, old, None, SyncOptions(compares_modes=False)).synced.keys() == {b"path"}


def test_a_mode_that_the_target_cannot_keep_is_set_once() -> None:
    source, target = {b"path": file("text", 0o755)}, {b"path": file("text")}
    last = {b"path": Synced(source[b"path"].mode, target[b"path"].mode, 4, b"text")}

    made = make_plan(Side(source, {}), Side(target, {}), last, SyncOptions())

    assert (made.modes, made.kept) == ([], {})
    assert made.synced == last


def test_a_file_becomes_a_folder_and_a_folder_a_file() -> None:
    as_file, as_folder = {b"a": file("x")}, {b"a": FOLDER, b"a/b": FOLDER, b"a/b/c": file("y")}

    to_folder = plan(as_folder, as_file, as_file)
    assert (to_folder.removals, to_folder.copies, to_folder.deleted) == ([b"a"], sorted(as_folder), frozenset())
    assert plan(as_file, as_folder, as_folder).kept[b"a"] == FOLDER_IN_THE_WAY
    to_file = plan(as_file, as_folder, as_folder, DELETE)
    assert (to_file.removals, to_file.copies) == ([b"a/b/c", b"a/b", b"a"], [b"a"])
    assert to_file.deleted == {b"a/b", b"a/b/c"}
    theirs = {**as_folder, b"a/b/new": file("z")}
    assert plan(as_file, theirs, as_folder, DELETE).removals == [b"a/b/c"]
    assert plan(as_file, theirs, as_folder, DELETE).kept == {
        b"a": FOLDER_IN_THE_WAY,
        b"a/b/new": ONLY_THERE,
        b"a/b": NOT_EMPTY,
    }


def test_what_belongs_into_a_folder_whose_place_is_taken_is_listed() -> None:
    source = {b"a": FOLDER, b"a/b": file("x"), b"a2": file("y")}

    made = plan(source, {b"a": link("/etc")})

    assert made.kept == {b"a": NO_RECORD, b"a/b": BELOW_KEPT}
    assert made.copies == [b"a2"]


def test_a_folder_with_something_that_stays_is_not_deleted() -> None:
    last = {b"a": FOLDER, b"a/b": FOLDER, b"a/b/ours": file("x")}
    target = {**last, b"a/b/theirs": file("y")}

    made = plan({}, target, last, DELETE)

    assert made.removals == [b"a/b/ours"]
    assert made.kept == {b"a": NOT_EMPTY, b"a/b": NOT_EMPTY, b"a/b/theirs": ONLY_THERE}


def test_nothing_is_done_about_what_could_not_be_read() -> None:
    rows = {b"a": FOLDER, b"a/b": file("x"), b"c": file("y"), b"d": FOLDER, b"d/e": file("z")}
    source, target = Side({b"a": FOLDER}, {b"a": "Permission denied"}), Side(rows, {b"c": "Input/output error"})

    made = make_plan(source, target, synced(rows), DELETE)

    assert made.removals == [b"d/e", b"d"]
    assert made.failed == {b"a": "Permission denied", b"c": "there: Input/output error"}
    assert (made.copies, made.kept) == ([], {})


def test_names_that_the_target_takes_for_one_are_listed() -> None:
    source = {b"A": file("x"), b"a": file("y"), b"b": file("z"), b"D": FOLDER, b"D/x": file(""), b"d": file("w")}

    made = make_plan(Side(source, {}), Side({b"B": file("z")}, {}), {}, SyncOptions(folds_case=True))

    assert made.copies == [b"A", b"D", b"D/x"]
    assert made.kept == {b"B": ONLY_THERE, b"a": NAMES_COLLIDE, b"b": NAMES_COLLIDE, b"d": NAMES_COLLIDE}


def test_what_arrived_before_a_crash_is_on_record() -> None:
    old, new, newer = ({b"path": file(text)} for text in ("old", "new", "newer"))
    record = SyncRecord(synced(old), synced({**new, b"not yet": file("x")}))

    assert make_plan(Side(newer, {}), Side(new, {}), record.settled(new), SyncOptions()).copies == [b"path"]
    assert make_plan(Side(newer, {}), Side(old, {}), record.settled(old), SyncOptions()).copies == [b"path"]
    theirs = {b"path": file("theirs"), b"not yet": file("y")}
    assert (
        make_plan(Side(newer, {}), Side(theirs, {}), record.settled(theirs), SyncOptions()).kept.keys() == theirs.keys()
    )


def test_a_mode_that_was_not_set_before_a_crash_is_set_and_one_that_was_set_is_no_conflict() -> None:
    private = FOLDER._replace(mode=stat.S_IFDIR | 0o700)
    old, new, newer = ({b"path": file("x", mode)} for mode in (0o644, 0o755, 0o600))
    begun = SyncRecord({}, synced({b"a": FOLDER}))
    changed = SyncRecord(synced(old), synced(new))

    made = make_plan(Side({b"a": FOLDER}, {}), Side({b"a": private}, {}), begun.settled({b"a": private}), SyncOptions())
    assert (made.modes, made.kept) == ([b"a"], {})
    for target in (old, new):
        made = make_plan(Side(newer, {}), Side(target, {}), changed.settled(target), SyncOptions())
        assert (made.modes, made.kept) == ([b"path"], {})
    theirs = {b"path": file("x", 0o700)}
    made = make_plan(Side(newer, {}), Side(theirs, {}), changed.settled(theirs), SyncOptions())
    assert made.kept == {b"path": CHANGED}


PATHS = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3).map(b"/".join)
LEAVES = st.sampled_from([file("1"), file("2"), file("2", 0o755), link("1"), FOLDER])


def as_tree(leaves: Rows) -> Rows:
    """With the folders that are needed; what would be inside a file is left out."""
    rows: Rows = {}
    for path, row in sorted(leaves.items()):
        parents = [path[:at] for at, char in enumerate(path) if char == ord("/")]
        if all(stat.S_ISDIR(rows.get(parent, FOLDER).mode) for parent in parents):
            rows.update({parent: FOLDER for parent in parents})
            rows[path] = row
    return rows


TREES = st.dictionaries(PATHS, LEAVES, max_size=7).map(as_tree)


def applied(made: SyncPlan, source: Rows, target: Rows) -> Rows:
    """The target after it; asserts that each step is possible."""
    rows = dict(target)
    for path in made.removals:
        assert not any(each.startswith(path + b"/") for each in rows), "a folder is removed before what is in it"
        del rows[path]
    for path in [*made.copies, *made.modes]:
        parent = path.rpartition(b"/")[0]
        assert not parent or stat.S_ISDIR(rows[parent].mode), "its folder does not exist"
        assert path not in rows or not stat.S_ISDIR(rows[path].mode) or stat.S_ISDIR(source[path].mode)
        rows[path] = source[path]
    return rows


@given(TREES, TREES, TREES, st.booleans(), st.booleans())
def test_the_target_equals_the_source_but_for_what_is_listed(
    source: Rows, target: Rows, last: Rows, delete: bool, force: bool
) -> None:
    options = SyncOptions(delete=delete, force=force)

    made = plan(source, target, last, options)
    after = applied(made, source, target)

    for path in source.keys() | after.keys():
        assert source.get(path) == after.get(path) or path in made.kept
    for path, row in target.items():
        if path in made.copies or path in made.removals or path in made.modes:
            is_as_recorded = path in last and last[path] == row
            assert force or is_as_recorded or stat.S_ISDIR(row.mode), "a change of the target is lost"
        if path not in after:
            assert delete, "something was deleted"
    if delete and force:
        assert after == source
    record = {**{path: last[path] for path in made.kept if path in last}, **dict(source.items() & after.items())}
    again = plan(source, after, record, options)
    assert not again.copies
    assert not again.modes
