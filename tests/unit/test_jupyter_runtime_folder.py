"""Where kernels have their sockets, and what becomes of that folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from remote_runtime.jupyter.machine import runtime_folder


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    found = tmp_path / "server"
    found.mkdir()
    return found


def test_the_folder_is_private_takes_sockets_and_goes_with_the_server(directory: Path) -> None:
    assert runtime_folder.make(str(directory))
    folder = Path(runtime_folder.path_of(str(directory)))
    assert (folder.stat().st_mode & 0o777, list(folder.iterdir())) == (0o700, [])
    (folder / "kernel-1.json").touch()
    runtime_folder.make(str(directory))
    again = Path(runtime_folder.path_of(str(directory)))
    assert (folder.exists(), again.is_dir()) == (False, True)
    runtime_folder.remove(str(directory))
    runtime_folder.remove(str(directory))
    assert (again.exists(), list(directory.iterdir())) == (False, [])


def test_a_path_that_is_too_long_for_a_kernels_socket_is_noticed(directory: Path) -> None:
    runtime_folder.make(str(directory))
    folder = Path(runtime_folder.path_of(str(directory)))
    longest = 107 - len(f"{folder}//{runtime_folder.LONGEST_NAME}")
    for length in (longest, longest + 1):
        (folder / ("x" * length)).mkdir()
    assert runtime_folder.takes_sockets(str(folder / ("x" * longest)))
    assert not runtime_folder.takes_sockets(str(folder / ("x" * (longest + 1))))
    assert not runtime_folder.takes_sockets(str(folder / "absent"))
    runtime_folder.remove(str(directory))


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user takes root")
def test_what_another_user_put_in_its_place_meanwhile_stays(directory: Path) -> None:
    """After a reboot that emptied /tmp."""
    runtime_folder.make(str(directory))
    folder = Path(runtime_folder.path_of(str(directory)))
    (folder / "theirs").touch()
    os.chown(folder, 65534, 65534)
    runtime_folder.remove(str(directory))
    assert [path.name for path in folder.iterdir()] == ["theirs"]
    (folder / "theirs").unlink()
    folder.rmdir()
