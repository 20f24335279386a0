"""RUNTIME as `status` tells it: its reasons and hints hold commands that work as they stand."""

from __future__ import annotations

from pathlib import Path

from remote_runtime.commands.status import fill_in_commands, status
from remote_runtime.state.store import LastRun, StateDir, save_last_run

RUNTIME = {
    "name": "box",
    "why": "`remote-runtime up PROFILE` mends it",
    "last_error": {"code": "keeper-died", "what": "it died", "why": "", "hint": "`remote-runtime logs PROFILE`"},
}


def test_a_runtime_is_named_by_the_path_where_its_name_finds_no_profile(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "box.yaml"
    path.parent.mkdir()
    path.write_text("version: 1\ntarget: {kind: local}\n", encoding="utf-8")
    state = StateDir(tmp_path / "state")
    state.path.mkdir(mode=0o700)
    environ = {"REMOTE_RUNTIME_CONFIG_DIR": str(tmp_path / "config")}
    by_name = fill_in_commands(RUNTIME, state, environ)
    assert (by_name["why"], by_name["last_error"]["hint"]) == (
        "`remote-runtime up box` mends it",
        "`remote-runtime logs box`",
    )
    save_last_run(state, "box", LastRun("abc", profile_path=str(path)))
    by_path = fill_in_commands(RUNTIME, state, environ)
    assert (by_path["why"], by_path["last_error"]["hint"]) == (
        f"`remote-runtime up '{path}'` mends it",
        f"`remote-runtime logs '{path}'`",
    )
    assert fill_in_commands({**RUNTIME, "last_error": None}, state, environ)["last_error"] is None


def test_a_runtime_that_is_down_has_the_target_of_its_profile_and_neither_a_process_nor_a_time(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    state.path.mkdir(mode=0o700)
    environ = {"REMOTE_RUNTIME_CONFIG_DIR": str(tmp_path)}
    profile = tmp_path / "profiles" / "box.yaml"
    profile.parent.mkdir()
    profile.write_text("version: 1\ntarget: {kind: ssh, host: box.lan}\n", encoding="utf-8")
    (down,) = status(["box"], state, environ)
    assert (down["state"], down["since"], down["keeper_pid"]) == ("down", None, None)
    assert down["target"] == {"kind": "ssh", "host": "box.lan"}
    profile.write_text("version: 1\ntarget: {kind: none}\n", encoding="utf-8")
    assert status(["box"], state, environ)[0]["target"] == {"kind": None}
