"""A state folder that others could write to, or that lacks what a file system has; and what it must not keep."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from remote_runtime.cli import main
from remote_runtime.core import subprocesses
from remote_runtime.core.errors import LocalError
from remote_runtime.state import launch, log_file, store
from tests.support.environment.waiting import eventually

HERE = "version: 1\ntarget: {kind: local}\n"
STRANGER = 4321


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder that everybody may write to, and the profile ``here``."""
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o777)
    monkeypatch.setenv("REMOTE_RUNTIME_STATE_DIR", str(path))
    monkeypatch.setenv("REMOTE_RUNTIME_PROFILES", str(tmp_path / "profiles"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "here.yaml").write_text(HERE)
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    assert main([*arguments, "--json"]) == 1
    error: dict[str, str] = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "state-dir-unusable"
    return error


# Each plants a file, and answers with the name that is to be told.
def _a_fifo(folder: Path) -> str:
    os.mkfifo(folder / "here.port")
    return "here.port"


def _a_link(folder: Path) -> str:
    (folder / "here.log").symlink_to(folder.parent / "victim")
    return "here.log"


def _a_strangers_file(folder: Path) -> str:
    (folder / "known_hosts").write_text("compute.1 ssh-ed25519 AAAA\n")
    os.chown(folder / "known_hosts", STRANGER, STRANGER)
    return "known_hosts"


def _a_strangers_link_to_a_folder_of_ours(folder: Path) -> str:
    folder.rmdir()
    (folder.parent / "mine").mkdir(mode=0o755)
    folder.symlink_to(folder.parent / "mine")
    os.lchown(folder, STRANGER, STRANGER)
    return "state"


AS_ROOT = [_a_strangers_file, _a_strangers_link_to_a_folder_of_ours] if os.geteuid() == 0 else []


@pytest.mark.parametrize("plant", [_a_fifo, _a_link, *AS_ROOT])
def test_what_others_may_have_put_there_is_refused_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str], plant: Callable[[Path], str]
) -> None:
    name = plant(folder)
    for command in (["status"], ["up", "here"], ["down", "here"]):
        error = refused(capsys, *command)
        assert error["why"].startswith(f"{folder.parent if name == 'state' else folder}/{name}: it "), error
        assert f"rm {folder}/{name}" in error["hint"] or name == "state"
    assert not (folder.parent / "victim").exists()
    mine = folder.parent / "mine"
    assert not mine.exists() or (mine.stat().st_mode & 0o777, [*mine.iterdir()]) == (0o755, [])


def test_nothing_is_read_from_a_fifo_or_written_through_another_name(folder: Path) -> None:
    state = store.open_state_dir(os.environ)
    for kind in ("json", "port", "alive", "log"):
        os.mkfifo(state.file_path("here", kind))  # after the look at the folder
    with pytest.raises(LocalError, match="FIFO"):
        store.load(state, "here")
    assert store.load_last_run(state, "here").local_port is None
    with pytest.raises(LocalError, match="FIFO"):
        store.is_alive(state, "here")
    with pytest.raises(OSError, match=r"FIFO|No such device"):
        log_file.append_private(state.file_path("here", "log"), "secret")

    victim = folder.parent / "victim"
    victim.write_text("mine\n")
    os.link(victim, state.file_path("there", "log"))
    log_file.append_private(state.file_path("there", "log"), "line")
    assert (victim.read_text(), state.file_path("there", "log").read_text()) == ("mine\n", "line")


def test_what_killed_processes_put_aside_is_removed(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    gone = [folder / f"here.json.{ended.pid}.tmp", folder / f"known_hosts.{ended.pid}.new"]
    old, fresh = (folder / f"{name}.port.{os.getpid()}.tmp" for name in ("old", "fresh"))
    for path in (*gone, old, fresh):
        path.write_text("token")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    store.open_state_dir(os.environ)
    assert [path.name for path in folder.iterdir()] == [fresh.name]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EIO], ids=errno.errorcode.get)
def test_a_folder_without_locks_is_told_with_its_cause(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)  # as a network share answers
    (folder / "here.alive").touch()
    (folder / "here.json").write_text("{}")
    for command in (["up", "here"], ["down", "here"], ["status"]):
        error = refused(capsys, *command)
        assert os.strerror(number) in error["why"]
        assert "REMOTE_RUNTIME_STATE_DIR" in error["hint"]


def test_a_folder_without_sockets_is_told_before_a_process_is_started(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Socket(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(socket, "socket", Socket)  # as sshfs answers
    error = refused(capsys, "up", "here")
    assert "socket" in error["what"].lower()
    assert os.strerror(errno.EPERM) in error["why"]
    assert not [path for path in folder.iterdir() if path.suffix in (".json", ".key")]


def test_a_keeper_leaves_no_core() -> None:
    def unlimited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)

    process = subprocesses.start_python(
        ["-c", launch.KEEPER_PROGRAM, "remote_runtime.keeper", "here"], stdin=subprocess.PIPE, preexec_fn=unlimited
    )
    try:
        eventually(lambda: psutil.Process(process.pid).rlimit(psutil.RLIMIT_CORE)[0] == 0)
        process.send_signal(signal.SIGSEGV)
        assert process.wait(10) == -signal.SIGSEGV
    finally:
        process.kill()
        process.communicate()


def test_a_python_that_is_gone_is_told_as_that(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, why in ((folder.parent / "victim", "Permission denied"), (folder / "no" / "python", "No such file")):
        if path.parent == folder.parent:
            path.write_text("#!/bin/sh\n")  # not executable
        monkeypatch.setattr(sys, "executable", str(path))
        assert main(["up", "here", "--json"]) == 1
        error = json.loads(capsys.readouterr().out)["error"]
        assert (error["code"], why in error["why"], str(path) in error["why"]) == ("python-gone", True, True)
        assert "reinstall" in error["hint"]
