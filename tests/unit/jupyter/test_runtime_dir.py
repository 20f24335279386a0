"""Where kernels have their sockets, and what becomes of that folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote import runtime_dir
from remote_runtime.jupyter.remote.listen_address import socket_path
from tests.support.environment.mounts import within_mount
from tests.support.servers.jupyter import REPOSITORY


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    found = tmp_path / "server"
    found.mkdir()
    return found


def test_the_folder_is_private_takes_sockets_and_goes_with_the_server(directory: Path) -> None:
    assert runtime_dir.create(str(directory))
    folder = Path(runtime_dir.path_of(str(directory)))
    assert (folder.stat().st_mode & 0o777, list(folder.iterdir())) == (0o700, [])
    (folder / "kernel-1.json").touch()
    runtime_dir.create(str(directory))
    again = Path(runtime_dir.path_of(str(directory)))
    assert (folder.exists(), again.is_dir()) == (False, True)
    runtime_dir.remove(str(directory))
    runtime_dir.remove(str(directory))
    assert (again.exists(), list(directory.iterdir())) == (False, [])


def test_a_path_that_is_too_long_for_a_kernels_socket_is_noticed(directory: Path) -> None:
    runtime_dir.create(str(directory))
    folder = Path(runtime_dir.path_of(str(directory)))
    longest = 107 - len(f"{folder}//{runtime_dir.SAMPLE_SOCKET_NAME}")
    for length in (longest, longest + 1):
        (folder / ("x" * length)).mkdir()
    assert runtime_dir.supports_sockets(str(folder / ("x" * longest)))
    assert not runtime_dir.supports_sockets(str(folder / ("x" * (longest + 1))))
    assert not runtime_dir.supports_sockets(str(folder / "absent"))
    runtime_dir.remove(str(directory))


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user takes root")
def test_what_another_user_put_in_its_place_meanwhile_stays(directory: Path) -> None:
    """After a reboot that emptied /tmp."""
    runtime_dir.create(str(directory))
    folder = Path(runtime_dir.path_of(str(directory)))
    (folder / "theirs").touch()
    os.chown(folder, 65534, 65534)
    runtime_dir.remove(str(directory))
    assert [path.name for path in folder.iterdir()] == ["theirs"]
    (folder / "theirs").unlink()
    folder.rmdir()


def test_a_server_whose_folder_has_a_long_path_listens_beside_its_kernels(tmp_path: Path) -> None:
    long = tmp_path / ("h" * 100)
    long.mkdir()
    assert runtime_dir.create(str(long))
    folder = Path(runtime_dir.path_of(str(long)))
    try:
        assert socket_path(str(long)) == str(folder / "sock")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert socket_path("/home/me/server") == "/home/me/server/sock"
    finally:
        runtime_dir.remove(str(long))


@pytest.mark.skipif(sys.platform != "linux", reason="mounts of its own are Linux's")
def test_where_no_folder_takes_sockets_the_kernels_have_none_and_nothing_is_left() -> None:
    """/tmp can only be read, and the home's path is too long."""
    code = "import sys; from remote_runtime.jupyter.remote import runtime_dir as r; print(r.create(sys.argv[1]))"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        home = Path(place, "h" * 120)
        server = home / ".local" / "share" / "remote-runtime" / "servers" / "work-laptop1"
        server.mkdir(parents=True)
        command = [
            *within_mount("--bind /tmp /tmp && mount -o remount,ro,bind /tmp"),
            sys.executable,
            "-c",
            code,
            str(server),
        ]
        environ = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, env=environ, cwd=place, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "False\n"
        assert [path.name for path in server.iterdir()] == ["runtime"]
        assert runtime_dir.path_of(str(server)) == str(server / "runtime")
        assert list(home.rglob("remote-runtime-*")) == []
