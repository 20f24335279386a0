"""A folder is walked, and what the cache knows is not read again."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from remote_runtime.files.remote.ignore import DEFAULT_PATTERNS, IgnoreRules
from remote_runtime.files.remote.rows import UNSURE, InvalidTable, ScanRow, pack_rows, unpack_rows
from remote_runtime.files.remote.scan import Scanner, folds_case, hash_file, row_at
from remote_runtime.files.remote.scan_cache import ScanCache

LONG_AGO_NS = 1_600_000_000_123_456_789


def scan(root: Path, cached: dict[bytes, ScanRow] | None = None, patterns: bytes = DEFAULT_PATTERNS) -> Scanner:
    scanner = Scanner(os.fsencode(root), IgnoreRules(patterns), cached or {})
    scanner.walk()
    for _ in scanner.hash_files():
        pass
    return scanner


def settle(root: Path) -> None:
    """Until nothing in ``root`` is as recent as a write that a scan could overlook."""
    newest = max(path.lstat().st_ctime_ns for path in root.rglob("*"))
    while time.time_ns() - newest < 150_000_000:
        time.sleep(0.02)


def test_files_links_and_folders_are_found_and_ignored_names_are_not(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o755)
    (tmp_path / "folder" / "file").write_bytes(b"content")
    (tmp_path / "folder" / ".file.0a1b2c3d.part").write_bytes(b"a copy that was cut off")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "link to folder").symlink_to("folder")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").touch()
    with open(os.fsencode(tmp_path) + b"/\xff\n", "w"):
        pass

    rows = scan(tmp_path).rows

    assert sorted(rows) == [b"folder", b"folder/file", b"link", b"link to folder", b"\xff\n"]
    assert stat.S_ISDIR(rows[b"folder"].mode)
    assert rows[b"link"].value == b"nowhere"
    assert rows[b"folder/file"].size == 7
    assert rows[b"folder/file"].value == hash_file(os.fsencode(tmp_path / "folder" / "file")).value


def test_what_cannot_be_read_is_a_problem_and_the_rest_is_scanned(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()

    scanner = scan(tmp_path)

    assert list(scanner.problems) == [b"pipe"]
    assert list(scanner.rows) == [b"file"]
    with pytest.raises(OSError, match="No such file"):
        scan(tmp_path / "missing")


def test_an_unchanged_file_keeps_its_row_and_a_changed_one_is_hashed_again(tmp_path: Path) -> None:
    for name in ("same", "changed", "same size", "other mode"):
        (tmp_path / name).write_bytes(b"old content")
    settle(tmp_path)
    first = scan(tmp_path)
    assert all(row.ctime_ns != UNSURE for row in first.rows.values())
    (tmp_path / "changed").write_bytes(b"new")
    with open(tmp_path / "same size", "r+b") as file:
        file.write(b"new")
    os.utime(tmp_path / "same size", ns=(LONG_AGO_NS, first.rows[b"same size"].mtime_ns))  # as `cp -p` does
    (tmp_path / "other mode").chmod(0o700)

    second = scan(tmp_path, first.rows)

    assert second.changed
    assert second.rows[b"same"] is first.rows[b"same"]
    assert second.rows[b"changed"].value != first.rows[b"changed"].value
    assert second.rows[b"same size"].value != first.rows[b"same size"].value
    assert second.rows[b"other mode"].value == first.rows[b"other mode"].value
    assert stat.S_IMODE(second.rows[b"other mode"].mode) == 0o700


def test_nothing_is_hashed_and_nothing_has_changed_if_the_cache_knows_all(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    settle(tmp_path)
    first = scan(tmp_path)

    again = scan(tmp_path, first.rows)

    assert (again.changed, again.bytes_to_hash) == (False, 0)
    (tmp_path / "link").unlink()
    assert scan(tmp_path, first.rows).changed


def test_a_file_that_was_just_written_is_hashed_again_because_its_time_could_stay(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    first = scan(tmp_path)
    again = scan(tmp_path, first.rows)

    assert first.rows[b"file"].ctime_ns == UNSURE
    assert again.bytes_to_hash == 7


def test_the_row_of_one_path_is_the_row_that_a_scan_finds(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    settle(tmp_path)

    rows = scan(tmp_path).rows

    assert {path: row_at(os.fsencode(tmp_path), path) for path in rows} == rows
    assert row_at(os.fsencode(tmp_path), b"missing") is None
    assert row_at(os.fsencode(tmp_path), b"file/below") is None
    assert not folds_case(os.fsencode(tmp_path))


def test_rows_survive_as_bytes_and_damaged_bytes_are_refused() -> None:
    rows = {
        b"a": ScanRow(0o100644, 1 << 40, -5, UNSURE, (1 << 63) - 1, b"\0" * 20),
        b"\xff/\n": ScanRow(0o120777, 0, 1, 0, 0, b""),
    }
    data = pack_rows(rows)

    assert unpack_rows(data) == rows
    assert unpack_rows(pack_rows({})) == {}
    for damaged in (b"", data[:-1], data + b"x", data[:30], b"x" + data[1:], data.replace(b"a\0", b"\0\0", 1)):
        with pytest.raises(InvalidTable):
            unpack_rows(damaged)


def test_a_cache_is_private_bounded_and_never_wrong(tmp_path: Path) -> None:
    folder, row = tmp_path / "cache", {b"file": ScanRow(0o100644, 1, 2, 3, 4, b"hash")}
    cache = ScanCache(str(folder), max_bytes=1000)
    assert cache.load(b"root") == (b"", {})

    stamp = cache.save(b"root", rows=row)

    assert cache.load(b"root") == (stamp, row)
    assert cache.load(b"another root") == (b"", {})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()] == [0o600]
    assert cache.save(b"too large", rows={b"x" * 1000: row[b"file"]}) == b""
    for number in range(20):
        assert cache.save(b"%d" % number, rows=row)
    assert sum(each.stat().st_size for each in folder.iterdir()) <= 1000
    assert cache.load(b"19")[1] == row
    next(folder.iterdir()).write_bytes(b"damaged")
    assert sum(1 for number in range(20) if cache.load(b"%d" % number)[1]) == len(list(folder.iterdir())) - 1


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = ScanCache(str(tmp_path / "file" / "cache"))

    assert cache.save(b"root", rows={}) == b""
    assert cache.load(b"root") == (b"", {})
