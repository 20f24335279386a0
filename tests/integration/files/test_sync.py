"""Syncs between a folder here and one that the agent, a process of its own, scans and changes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.core.errors import LocalError, MachineError, UsageError
from remote_runtime.files.agent import Agent
from remote_runtime.files.sync_plan import CHANGED, DELETED_IN_SOURCE, NO_RECORD, NOT_EMPTY, ONLY_THERE
from tests.support.machines.files_machine import FilesMachine, agent_of
from tests.support.machines.synced_folders import SyncedFolders, contents


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> FilesMachine:
    return FilesMachine(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def agent(machine: FilesMachine) -> Iterator[Agent]:
    with agent_of(machine) as agent:
        yield agent


@pytest.fixture(params=[True, False], ids=["upload", "download"])
def folders(agent: Agent, tmp_path: Path, request: pytest.FixtureRequest) -> SyncedFolders:
    return SyncedFolders(agent, tmp_path, upload=request.param)


def fill(root: Path) -> None:
    (root / "folder" / "deep").mkdir(parents=True)
    (root / "folder" / "deep" / "file").write_bytes(b"content")
    (root / "folder" / "deep").chmod(0o750)
    (root / "program").write_bytes(b"#!/bin/sh\n")
    (root / "program").chmod(0o755)
    (root / "large").write_bytes(os.urandom(3 << 20))
    (root / "link").symlink_to("folder/deep")
    (root / "broken").symlink_to("/nowhere")
    (root / "empty").touch()
    (root / "hollow").mkdir()
    with open(os.fsencode(root) + b"/caf\xe9 \n", "wb") as file:
        file.write(b"a name that is not UTF-8")


def test_the_target_equals_the_source_and_a_second_sync_does_nothing(folders: SyncedFolders) -> None:
    fill(folders.source)
    (folders.source / ".venv").mkdir()
    (folders.source / "folder" / "__pycache__").mkdir()
    (folders.source / ".remote-runtime-ignore").write_text("*.log\n/hollow\n")
    (folders.source / "folder" / "run.log").touch()

    first = folders.sync()

    expected = {
        path: value
        for path, value in contents(folders.source).items()
        if path not in (b"folder/__pycache__", b".venv", b"hollow", b"folder/run.log")
    }
    assert contents(folders.target) == expected
    assert (first.kept, first.failed, first.deleted) == ({}, {}, [])
    assert sorted(first.copied) == sorted(expected)
    assert folders.confirmed == [(6, (3 << 20) + 7 + 10 + 24 + 14, True)]
    assert (folders.target / "large").stat().st_mtime_ns == (folders.source / "large").stat().st_mtime_ns
    second = folders.sync()
    assert (second.copied, second.modes, second.kept, second.failed) == ([], [], {}, {})
    assert second.synced == first.synced == len(expected)
    assert len(folders.confirmed) == 1


def test_only_what_changed_travels_and_only_delete_deletes(folders: SyncedFolders) -> None:
    fill(folders.source)
    folders.sync()
    (folders.source / "folder" / "deep" / "file").write_bytes(b"other")
    (folders.source / "program").chmod(0o700)
    (folders.source / "empty").unlink()
    (folders.source / "hollow").rmdir()
    (folders.source / "hollow").write_bytes(b"now a file")
    (folders.source / "link").unlink()
    (folders.source / "link").mkdir()
    (folders.source / "link" / "inside").touch()
    (folders.target / "theirs").write_bytes(b"new on the target")

    outcome = folders.sync()

    assert outcome.copied == [b"folder/deep/file", b"hollow", b"link", b"link/inside"]
    assert outcome.modes == [b"program"]
    assert outcome.kept == {b"empty": DELETED_IN_SOURCE, b"theirs": ONLY_THERE}
    deleted = folders.sync(delete=True)
    assert (deleted.deleted, deleted.kept) == ([b"empty"], {b"theirs": ONLY_THERE})
    assert folders.sync(delete=True, force=True).deleted == [b"theirs"]
    assert contents(folders.target) == contents(folders.source)


def test_what_changed_on_the_target_is_kept_until_it_is_forced(folders: SyncedFolders) -> None:
    fill(folders.source)
    (folders.target / "empty").write_bytes(b"before any sync")
    assert folders.sync().kept == {b"empty": NO_RECORD}
    (folders.target / "program").write_bytes(b"theirs")
    (folders.target / "large").unlink()
    (folders.source / "program").write_bytes(b"ours")

    outcome = folders.sync()

    assert outcome.kept == {b"empty": NO_RECORD, b"program": CHANGED}
    assert outcome.copied == [b"large"]  # nothing is lost by it
    assert (folders.target / "program").read_bytes() == b"theirs"
    assert sorted(folders.sync(force=True).copied) == [b"empty", b"program"]
    assert contents(folders.target) == contents(folders.source)


def test_a_folder_with_ignored_files_in_it_is_kept(folders: SyncedFolders) -> None:
    fill(folders.source)
    folders.sync()
    (folders.target / "hollow" / "__pycache__").mkdir()
    (folders.source / "hollow").rmdir()

    outcome = folders.sync(delete=True)

    assert (outcome.kept, outcome.failed) == ({b"hollow": NOT_EMPTY}, {})
    assert (folders.target / "hollow" / "__pycache__").is_dir()
    assert folders.sync(delete=True).kept == {b"hollow": NOT_EMPTY}


def test_what_the_target_gets_between_the_scan_and_the_copy_is_kept(folders: SyncedFolders) -> None:
    fill(folders.source)
    folders.sync()
    names = ("program", "large", "broken", "new", "empty")
    for name in names[:-1]:
        (folders.source / name).unlink(missing_ok=True)
        (folders.source / name).write_bytes(b"ours" * (1 << 19 if name == "large" else 1))
    (folders.source / "empty").unlink()

    def edit(step: str) -> None:
        if step == "confirm":
            for name in names:
                (folders.target / name).unlink(missing_ok=True)
                (folders.target / name).write_bytes(b"theirs")

    folders.before = edit
    outcome = folders.sync(delete=True)

    assert set(outcome.failed) == {b"program", b"large", b"broken", b"new", b"empty"}
    assert {(folders.target / name).read_bytes() for name in ("program", "large", "broken", "new", "empty")} == {
        b"theirs"
    }
    folders.before = lambda step: None
    assert set(folders.sync(delete=True).kept) == set(outcome.failed)


def test_a_sync_that_was_killed_leaves_no_conflict(folders: SyncedFolders) -> None:
    fill(folders.source)
    folders.sync()
    (folders.source / "program").write_bytes(b"second")

    class Killed(BaseException):
        pass

    def kill(step: str) -> None:
        if step == "checking":
            raise Killed

    folders.before = kill
    with pytest.raises(Killed):
        folders.sync()
    assert (folders.target / "program").read_bytes() == b"second"
    folders.before = lambda step: None
    (folders.source / "program").write_bytes(b"third")

    assert folders.sync().copied == [b"program"]


def test_two_syncs_of_the_same_folders_do_not_run_at_once(folders: SyncedFolders) -> None:
    def again(step: str) -> None:
        if step == "scanning":
            folders.before = lambda step: None
            folders.sync()

    folders.before = again
    with pytest.raises(LocalError) as caught:
        folders.sync()
    assert caught.value.code == "sync-running"


def test_a_source_that_is_missing_or_empty_deletes_nothing(folders: SyncedFolders) -> None:
    fill(folders.source)
    folders.sync()
    before = contents(folders.target)
    folders.source.rename(folders.source.with_name("mounted"))

    with pytest.raises(UsageError) as missing:
        folders.sync(delete=True)
    folders.source.mkdir()
    with pytest.raises(UsageError) as empty:
        folders.sync(delete=True)

    assert [missing.value.code, empty.value.code] == ["sync-source-missing", "sync-source-empty"]
    assert contents(folders.target) == before
    folders.sync(delete=True, force=True)
    assert contents(folders.target) == {}


def test_a_target_that_is_missing_is_made_and_one_that_cannot_be_is_an_error(folders: SyncedFolders) -> None:
    fill(folders.source)
    folders.target.rmdir()

    folders.sync()

    assert contents(folders.target) == contents(folders.source)
    folders.target.rename(folders.target.with_name("moved"))
    folders.target.touch()
    with pytest.raises((LocalError, MachineError)) as caught:
        folders.sync()
    assert caught.value.code in ("folder-unreadable", "file-request-failed")
    folders.target.unlink()
    folders.sync()
    assert contents(folders.target) == contents(folders.source)


def test_a_pattern_that_is_not_supported_stops_the_sync(folders: SyncedFolders) -> None:
    fill(folders.source)
    (folders.source / ".remote-runtime-ignore").write_text("*.log\n[a\n")

    with pytest.raises(UsageError, match="line 7: a bracket") as caught:
        folders.sync()
    assert caught.value.code == "ignore-file-invalid"
    assert contents(folders.target) == {}
