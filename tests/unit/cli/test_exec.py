"""How the words of `exec` are read, and which exit status a failure of remote-runtime itself has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remote_runtime.cli import main

OWN_FAILURE = 125
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTE_RUNTIME_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("REMOTE_RUNTIME_PROFILES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-vm.yaml").write_text("version: 1\ntarget: {kind: local}\n")
    (tmp_path / "a.py").write_text("print(1)")
    (tmp_path / "latin.py").write_bytes(b"print('\xe4')")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("my-vm a.py", "not-up"),
        ("my-vm -c 1", "not-up"),
        ("a.py", "not-up"),
        ("-c 1", "not-up"),
        ("my-vm --new-kernel a.py -- --new-kernel", "not-up"),
        ("my-vm --new-kernel r a.py", "not-up"),
        ("my-vm --new-kernel --detach -c 1", "not-up"),
        ("nowhere a.py", "profile-not-found"),
        ("my-vm b.py", "code-unreadable"),
        ("my-vm latin.py", "code-unreadable"),
        ("my-vm", "usage"),
        ("my-vm a.py b.py", "usage"),
        ("my-vm a.py -c 1", "usage"),
        ("my-vm a.py --kernel x --new-kernel", "usage"),
        ("my-vm a.py --detach --output x", "usage"),
        ("my-vm a.py --what", "usage"),
    ],
)
def test_failures_that_are_not_the_codes_have_a_status_of_their_own(words: str, code: str, capsys: Captured) -> None:
    options, end, rest = words.partition(" -- ")
    assert main(["exec", *options.split(), "--json", *([end.strip(), rest] if end else [])]) == OWN_FAILURE
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["error"]["code"]) == ("failed", code)
