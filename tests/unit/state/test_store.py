"""The state directory: private, atomic, honest about what it cannot read."""

from __future__ import annotations

import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remote_runtime.core import file_lock, private_file
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import LocalError
from remote_runtime.core.model import Forward, Gpu, Instance, Kernelspec, Runtime, Secret, Server
from remote_runtime.state import store
from remote_runtime.state.store import LastRun, StateDir, open_state_dir

TOKEN = "ab" * 24
FULL = Runtime(
    name="work",
    profile_path="/home/me/work.yaml",
    target={"kind": "gce", "instance": "my-vm"},
    client_id="c0ffee00",
    state="ready",
    local_port=8888,
    instance=Instance("gce", "my-vm", "10.0.0.1", 22, "RUNNING", "123", "z", "p", "compute.123", ("ssh-ed25519 A",)),
    server=Server(
        4242,
        77,
        Secret(TOKEN),
        "/srv/work",
        True,
        "2.14.0",
        "0.1.0",
        "3.12.3",
        "/usr/bin/python3",
        ("n",),
        (Gpu("Tesla T4", 15360 << 20, "580.95"),),
        (Kernelspec("ir", "R 4", "R"),),
    ),
    forwards=(Forward(8888, "127.0.0.1:4242"), Forward(6006, "127.0.0.1:6006")),
    keeper_pid=7,
    since="2026-01-01T00:00:00+00:00",
    rtt_ms=1.5,
    kernels=2,
    last_error={"code": "busy", "what": "w", "why": "", "hint": ""},
    unfinished=False,
    tool_version="0.1.0",
)
BARE = Runtime(name="work", profile_path="", target={}, client_id="c0ffee00")


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(tmp_path / "state")})


def test_a_state_is_on_the_disk_before_it_takes_the_place_of_the_former(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[int, str | None] = {}
    fsync, saved = os.fsync, state.file_path("work", "json")

    def watched(descriptor: int) -> None:
        assert os.fstat(descriptor).st_size > 0
        there = store.load(state, "work")
        synced[os.fstat(descriptor).st_ino] = there.state if there else None
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    for runtime, former in ((BARE, None), (FULL, BARE.state)):
        store.save(state, runtime)
        assert synced[saved.stat().st_ino] == former


@pytest.mark.parametrize("runtime", [FULL, BARE], ids=["full", "bare"])
def test_what_is_saved_is_what_is_loaded(state: StateDir, runtime: Runtime) -> None:
    store.save(state, runtime)
    loaded = store.load(state, "work")
    assert loaded == runtime
    assert loaded is not None
    assert (loaded.url and loaded.url.reveal()) == (runtime.url and f"http://localhost:8888/?token={TOKEN}")


def test_the_directory_and_every_file_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "state"
    former = os.umask(0)
    try:
        state = open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(path)})
        store.save(state, FULL)
        store.save_last_run(state, "work", LastRun("c0ffee00", 8888))
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in path.iterdir()} == {
        "work.json": "0o600",
        "work.port": "0o600",
    }


def test_a_directory_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(tmp_path)})
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_is_told_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError) as caught:
        open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(tmp_path / "file" / "state")})
    assert caught.value.code == "state-dir-unusable"
    assert "REMOTE_RUNTIME_STATE_DIR" in caught.value.hint


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(LocalError, match=f"belongs to user id {os.getuid()}"):
        open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(tmp_path)})


def test_without_an_override_the_platforms_place_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(open_state_dir({}).path).startswith(str(tmp_path))


def test_a_reader_never_sees_half_a_file(state: StateDir) -> None:
    store.save(state, FULL)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.save(state, FULL)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(store.load(state, "work") == FULL for _ in range(300))
    finally:
        stop.set()
        writer.join()
    assert [path.name for path in state.path.iterdir()] == ["work.json"]


def test_several_may_try_at_once_whether_it_can_be_written(state: StateDir) -> None:
    with ThreadPoolExecutor(8) as threads:
        for tried in [threads.submit(store.check_writable, state) for _ in range(200)]:
            tried.result()
    assert list(state.path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_no_other(state: StateDir) -> None:
    store.save(state, FULL)
    with pytest.raises(TypeError):
        private_file.write_private(state.file_path("work", "json"), "not bytes")  # type: ignore[arg-type]  # to make it fail
    assert store.load(state, "work") == FULL
    assert [path.name for path in state.path.iterdir()] == ["work.json"]


WHOLE = json.dumps({"schema": 1, "runtime": {"name": "work"}})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        WHOLE[:-5].encode(),
        b"\x00" * 4096,
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"schema": 1}',
        b'{"schema": "one", "runtime": {}}',
        b'{"schema": 1, "runtime": []}',
        b'{"schema": 1, "runtime": {"instance": null}}',
        WHOLE.encode(),
        b"[" * 100_000,
        b'{"schema": 99}',
    ],
)
def test_a_damaged_file_is_told_with_its_path_and_a_way_out(state: StateDir, content: bytes) -> None:
    state.file_path("work", "json").write_bytes(content)
    with pytest.raises(LocalError) as caught:
        store.load(state, "work")
    error = caught.value
    assert error.code == "state-unreadable"
    assert str(state.file_path("work", "json")) in error.what
    assert error.why
    assert "remote-runtime down PROFILE --force" in error.hint


def test_a_file_of_a_newer_version_is_refused_by_name(state: StateDir) -> None:
    state.file_path("work", "json").write_text('{"schema": 2, "runtime": {"tool_version": "9.9", "what": "is new"}}')
    with pytest.raises(LocalError, match=r"remote-runtime 9\.9, which is newer"):
        store.load(state, "work")


def test_a_file_that_may_not_be_read_is_told_too(state: StateDir) -> None:
    state.file_path("work", "json").mkdir()
    with pytest.raises(LocalError, match="Can't read"):
        store.load(state, "work")


def test_forgetting_keeps_locks_log_pins_and_port(state: StateDir) -> None:
    store.save(state, FULL)
    store.save_last_run(state, "work", LastRun("c0ffee00", 8888))
    for kind in ("alive", "busy", "sock", "key", "log"):
        state.file_path("work", kind).touch()
    state.known_hosts.touch()
    store.remove_files(state, "work")
    kept = {"work.alive", "work.busy", "work.log", "work.port", "known_hosts"}
    assert {path.name for path in state.path.iterdir()} == kept
    store.remove_files(state, "work")
    assert {path.name for path in state.path.iterdir()} == kept


def test_a_runtime_that_was_never_up_leaves_no_file_unless_a_command_works_on_it(state: StateDir) -> None:
    state.known_hosts.touch()
    for kind in ("alive", "busy", "log", "port", "key"):
        state.file_path("work", kind).touch()
    with file_lock.locked(state.file_path("work", "busy"), Deadline(1.0)):
        store.forget(state, "work")
        assert len(list(state.path.iterdir())) == 6
    store.forget(state, "work")
    assert [path.name for path in state.path.iterdir()] == ["known_hosts"]


def test_a_keeper_that_still_lives_keeps_its_socket_when_its_runtime_is_forgotten(state: StateDir) -> None:
    state.file_path("work", "sock").touch()
    with file_lock.locked(state.file_path("work", "alive"), Deadline(1.0)):
        assert store.is_alive(state, "work")
        store.remove_files(state, "work")
    assert state.file_path("work", "sock").exists()
    assert not store.is_alive(state, "work")


def test_the_names_are_those_that_have_a_file(state: StateDir) -> None:
    for name in ("zoo", "a.b", "work"):
        state.file_path(name, "json").touch()
    for kind in ("alive", "log", "port"):
        state.file_path("gone", kind).touch()
    assert store.list_names(state) == ["a.b", "work", "zoo"]
    assert store.load(state, "gone") is None


def test_port_and_client_id_are_remembered(state: StateDir) -> None:
    store.save_last_run(state, "work", LastRun("c0ffee00", 8889))
    assert store.load_last_run(state, "work") == LastRun("c0ffee00", 8889)
    store.save_last_run(state, "work", LastRun("c0ffee00"))
    assert store.load_last_run(state, "work") == LastRun("c0ffee00", None)


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", '{"client_id": "c0ffee00"}', '{"client_id": "../..", "local_port": 1}',
     '{"client_id": 5, "local_port": 1}', '{"client_id": "", "local_port": 1}', '{"client_id": "a", "local_port": "x"}',
     "[" * 100_000],
)  # fmt: skip
def test_what_is_not_remembered_well_is_made_anew(state: StateDir, content: str | None) -> None:
    if content is not None:
        state.file_path("work", "port").write_text(content)
    found = store.load_last_run(state, "work")
    assert found.local_port is None
    assert len(found.client_id) == 8
    assert found.client_id.isalnum()
    assert store.load_last_run(state, "work") != found
