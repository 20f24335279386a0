"""`profiles check`, `show`, `edit`, `rm` and `path`: what they print and what they do to the file."""

from __future__ import annotations

import json
import shlex
import stat
import sys
from pathlib import Path

import pytest

from remote_runtime import profiles
from remote_runtime.cli import main
from remote_runtime.cli.output import console
from remote_runtime.cli.output.problems import problem_lines
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import ProfileError
from remote_runtime.core.file_lock import locked
from remote_runtime.state import store

GOOD = "version: 1\ntarget: {kind: ssh, host: box}\n"
BAD = "version: 1\ntarget:\n  kind: gce\n  instance: My_VM\nidel: {after: 2h}\njupyter: {env: {JUPYTER_TOKEN: x}}\n"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's own profiles."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REMOTE_RUNTIME_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("REMOTE_RUNTIME_CONFIG_DIR", str(tmp_path / "config"))
    path = tmp_path / "config" / "profiles"
    path.mkdir(parents=True)
    return path


def test_check_without_a_name_checks_all_profiles_of_the_user(capsys: Captured, folder: Path) -> None:
    assert main(["profiles", "check"]) == 0
    assert "remote-runtime profiles new" in capsys.readouterr().err
    (folder / "good.yaml").write_text(GOOD)
    (folder / "also good.yaml").write_text(GOOD)
    assert main(["profiles", "check", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in document["profiles"]] == ["good"]
    assert shlex.quote(str(folder / "also-good.yaml")) in document["error"]["hint"]


def test_problems_are_a_table_with_places_and_keys(capsys: Captured, folder: Path) -> None:
    (folder / "bad.yaml").write_text(BAD)
    assert main(["profiles", "check", "bad"]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[0] == f"error[profile-invalid]: 3 problems in {folder}/bad.yaml"
    assert told.count(str(folder)) == 2, "in the headline and in the fix"
    assert "\n   5:1  idel                       unknown key, did you mean `idle`?\n" in told
    assert "\n  6:17  jupyter.env.JUPYTER_TOKEN  `JUPYTER_TOKEN` can't be set: " in told
    assert main(["profiles", "check", "bad", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["problems"][1] == {
        "file": str(folder / "bad.yaml"), "line": 5, "column": 1, "key": "idel",
        "message": "unknown key, did you mean `idle`?",
    }  # fmt: skip
    assert len(error["why"].splitlines()) == len(error["problems"]) == 3


def test_messages_are_folded_below_themselves_in_a_narrow_terminal(folder: Path) -> None:
    (folder / "bad.yaml").write_text(BAD)
    with pytest.raises(ProfileError) as caught:
        profiles.load("bad")
    lines = list(problem_lines(caught.value, 80, console.wrap))
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("  4:13  target.instance  expected an instance name")
    assert lines[1].startswith(" " * 25)
    assert lines[1].strip()
    assert "  6:17  jupyter.env.JUPYTER_TOKEN" in lines, "a key that is too long has a line of its own"


def test_show_prints_what_the_file_sets_and_with_all_the_defaults(capsys: Captured, folder: Path) -> None:
    (folder / "box.yaml").write_text(GOOD)
    assert main(["profiles", "show", "box"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["version: 1", "target:", "  kind: ssh", "  host: box"]
    assert main(["profiles", "show", "box", "--all"]) == 0
    assert "  host_key: verified  # default\n" in capsys.readouterr().out
    assert main(["profiles", "show", "box", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["profile"]["ssh"]["host_key"] == "verified"
    assert document["set"] == {"version": 1, "target": {"kind": "ssh", "host": "box"}}


def test_a_template_is_shown_with_its_comments_and_works_as_a_file(capsys: Captured, tmp_path: Path) -> None:
    assert main(["profiles", "show", "example"]) == 0
    text = capsys.readouterr().out
    assert "# a private key file" in text
    (tmp_path / "copy.yaml").write_text(text)
    assert main(["profiles", "check", "./copy.yaml"]) == 0


def editor(tmp_path: Path, text: str) -> str:
    script = tmp_path / "editor.py"
    script.write_text(f"import sys; open(sys.argv[1], 'w').write({text!r})\n")
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"


def test_edit_opens_the_editor_and_checks_what_was_saved(
    capsys: Captured, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "box.yaml").write_text(BAD)
    monkeypatch.setenv("VISUAL", editor(tmp_path, GOOD))
    assert main(["profiles", "edit", "box"]) == 0
    assert capsys.readouterr().out == f"{folder}/box.yaml: valid\n"
    assert (folder / "box.yaml").read_text() == GOOD
    assert stat.S_ISREG((folder.parent / "schema.json").stat().st_mode)
    monkeypatch.setenv("VISUAL", editor(tmp_path, BAD))
    assert main(["profiles", "edit", "box", "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["error"]["problems"]) == 3
    monkeypatch.setenv("VISUAL", "no-such-editor")
    assert main(["profiles", "edit", "box"]) == 2
    assert "export EDITOR=nano" in capsys.readouterr().err


def test_rm_needs_a_yes_and_refuses_what_is_built_in_or_running(capsys: Captured, folder: Path) -> None:
    path = folder / "box.yaml"
    path.write_text(GOOD)
    assert main(["profiles", "rm", "box"]) == 2
    assert "Pass --yes" in capsys.readouterr().err
    for command in ("rm", "edit"):
        assert main(["profiles", command, "demo", "--json"]) == 2
        assert "profiles show demo > my-demo.yaml" in json.loads(capsys.readouterr().out)["error"]["hint"]
    state = store.open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(folder.parents[1] / "state")})
    with locked(state.file_path("box", "alive"), Deadline(5)):
        assert main(["profiles", "rm", "box", "--yes", "--json"]) == 2
        assert "remote-runtime down box" in json.loads(capsys.readouterr().out)["error"]["hint"]
    assert main(["profiles", "rm", "box", "--yes"]) == 0
    assert not path.exists()


def test_path_names_the_file_valid_or_not(capsys: Captured, folder: Path) -> None:
    (folder / "bad.yaml").write_text(BAD)
    assert main(["profiles", "path", "bad"]) == 0
    assert capsys.readouterr().out == f"{folder}/bad.yaml\n"
    assert main(["profiles", "path", "bod", "--json"]) == 2
    assert "Did you mean bad?" in json.loads(capsys.readouterr().out)["error"]["hint"]
