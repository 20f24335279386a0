"""What a repository brings along in ``./profiles`` is code: it runs when the person names it, and only then."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from remote_runtime.cli import main
from remote_runtime.state import store

PROFILE = "version: 1\ntarget: {{kind: local}}\njupyter: {{python: {}}}\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The person stands in it. ``ran``: the file that its program writes."""
    folder, ran = tmp_path / "repository", tmp_path / "ran"
    (folder / "profiles").mkdir(parents=True)
    program = folder / "run"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\necho ran >>{ran}\n")
    program.chmod(0o755)
    for name in ("gpu", "work"):
        (folder / "profiles" / f"{name}.yaml").write_text(PROFILE.format("/proc/self/cwd/run"))
    for kind in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"REMOTE_RUNTIME_{kind}_DIR", str(tmp_path / kind.lower()))
    (tmp_path / "config" / "profiles").mkdir(parents=True)
    (tmp_path / "config" / "profiles" / "work.yaml").write_text(PROFILE.format("/nonexistent/python"))
    monkeypatch.chdir(folder)
    return SimpleNamespace(folder=folder, ran=ran, state=store.StateDir(tmp_path / "state"))


def test_looking_at_all_machines_enters_none_of_the_repositorys(
    repository: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    # "work" was once brought up from the repository; the profile that the name means now is the person's own.
    store.open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(repository.state.path)})
    its = str(repository.folder / "profiles" / "work.yaml")
    store.save_last_run(repository.state, "work", store.LastRun("abcd", profile_path=its))

    assert main(["status", "--all-machines", "--json"]) == 0
    looked = {each["profile"]: each["why"] for each in json.loads(capsys.readouterr().out)["machines"]}
    assert not repository.ran.exists(), "nobody named a profile"
    assert {"gpu", "work", "local"} <= set(looked)
    assert "`remote-runtime status gpu --all-machines`" in looked["gpu"]
    assert "/nonexistent/python" in looked["work"]

    assert main(["status", "gpu", "--all-machines"]) == 1, "it is not up"
    assert repository.ran.exists(), "a profile that is named runs what it says"


@pytest.mark.parametrize("more", [["--orphans"], ["--purge"]], ids=" ".join)
def test_taking_all_down_takes_no_file_of_the_repository_for_the_one_it_was_brought_up_from(
    repository: SimpleNamespace, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    state = store.open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(repository.state.path)})
    store.save_last_run(state, "gpu", store.LastRun("abcd", profile_path="/gone/profiles/gpu.yaml", folder=True))
    state.file_path("gpu", "json").write_text("{")  # a state file that a crash has damaged

    assert main(["down", "--all", "--force", *more]) in (0, 2)
    assert not repository.ran.exists()
    assert "/gone/profiles/gpu.yaml" in capsys.readouterr().err
