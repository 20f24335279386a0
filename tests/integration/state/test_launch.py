"""The keeper that an `up` begins before anything is known: it is used, or it is gone, and says why it ended."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from remote_runtime import profiles
from remote_runtime.state import launch
from tests.support.environment.world import World

HERE = "version: 1\ntarget: {kind: local}\n"


def test_an_up_that_needs_no_keeper_leaves_none(world: World) -> None:
    for arguments in (["up", "missing"], ["up", "missing", "--no-such-option"]):
        assert world.run(*arguments).code == 2
        assert world.running() == []
    world.profile("here", HERE)
    url = world.up("here")
    keepers = {pid for pid in world.running() if "remote_runtime.keeper" in pid}
    assert world.up("here") == url
    assert {pid for pid in world.running() if "remote_runtime.keeper" in pid} == keepers


def test_a_keeper_that_is_told_nothing_ends(world: World) -> None:
    process = launch.start_keeper("here", world.environ)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, b"")
    assert not world.state.exists()


def test_a_keeper_that_cannot_begin_says_why(world: World, tmp_path: Path) -> None:
    (tmp_path / "glob.py").write_text("raise RuntimeError('a broken installation')\n")  # which only the keeper imports
    world.profile("here", HERE)
    world.environ["PYTHONPATH"] = f"{tmp_path}:{world.environ['PYTHONPATH']}"
    done = world.run("up", "here", "--json")
    assert done.error["code"] == "keeper-died"
    assert "RuntimeError: a broken installation" in done.error["why"]


def test_nothing_is_imported_from_the_directory_where_up_is_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "glob.py").write_text("raise RuntimeError('a stranger')\n")
    monkeypatch.chdir(tmp_path)
    process = launch.start_keeper("here", {**world.environ, "PYTHONPATH": ""})
    assert process.communicate(timeout=30)[1] == b""


def test_ctrl_c_before_the_command_is_loaded_leaves_no_keeper_and_no_traceback(world: World, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    world.environ["PYTHONPATH"] = f"{tmp_path}:{world.environ['PYTHONPATH']}"
    done = world.run("up", "here")
    assert (done.code, done.out, done.err) == (130, "", "")
    assert world.running() == []


def test_a_keeper_that_was_started_early_is_handed_out_once(tmp_path: Path) -> None:
    launch.prestart("here")
    assert launch.take_prestarted("there") is None
    process = launch.take_prestarted("here")
    assert process is not None
    assert launch.take_prestarted("here") is None
    profile = profiles.parse_profile("here", str(tmp_path / "here.yaml"), HERE)
    process.kill()
    process.wait(timeout=30)
    launch.send(process, launch.LaunchRequest(profile, HERE, {}))  # which nobody reads any more
    if process.stderr is not None:
        process.stderr.close()
    launch.prestart("here")
    launch.stop_prestarted()
    assert launch.take_prestarted("here") is None


def test_a_keeper_gets_the_whole_request(tmp_path: Path) -> None:
    profile = profiles.parse_profile("here", str(tmp_path / "here.yaml"), HERE)
    request = launch.LaunchRequest(profile, HERE, {"port": 8899, "extra": [{"local_port": 1}]}, 12.5)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as echo:
        launch.send(echo, request)
        assert echo.stdout is not None
        assert launch.receive(io.BytesIO(echo.stdout.read())) == request
    assert launch.receive(io.BytesIO(b"")) is None
