"""The front door: what is printed where, and with which exit code, before anything is started."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from remote_runtime import __version__
from remote_runtime.cli import main

WRONG_USAGE = [
    (["frobnicate"], "Unknown command: frobnicate"),
    (["profiles", "frobnicate"], "`remote-runtime profiles --help` lists commands"),
    (["strat"], "`remote-runtime up`, or `remote-runtime status`?"),
    (["new"], "`remote-runtime profiles new`"),
    (["connect"], "`remote-runtime up PROFILE`, or `remote-runtime ssh PROFILE`?"),
    (["up"], "Name the profile to start"),
    (["up", "demo", "--port", "0"], "--port"),
    (["up", "demo", "--port", "http"], "--port"),
    (["up", "demo", "--timeout", "0"], "--timeout"),
    (["up", "demo", "--timeout", "nan"], "--timeout"),
    (["up", "demo", "--timeout", "inf"], "--timeout"),
    (["up", "demo", "local", "--port", "9000"], "one profile at a time"),
    (["up", "demo", "--port-forward", "6006:"], "Invalid port forward"),
    (["up", "demo", "--no-such-option"], "No such option"),
    (["down"], "--all"),
    (["down", "demo", "--all"], "--all"),
    (["down", "demo", "--stop-instance", "--suspend-instance"], "excludes --suspend-instance"),
    (["down", "demo", "--keep-server", "--purge"], "--keep-server"),
    (["logs", "demo", "--since", "yesterday"], "expected a duration such as 10m or 2h"),
    (["logs", "demo", "--since", "10m", "--server"], "--since excludes --server"),
    (["help", "port-in-us"], "`remote-runtime help port-in-use`"),
    (["completion", "tcsh"], "tcsh"),
]


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for kind in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"REMOTE_RUNTIME_{kind}_DIR", str(tmp_path / kind.lower()))


@pytest.mark.parametrize(("arguments", "told"), WRONG_USAGE, ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_usage_is_told_with_its_code(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], told: str
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error[usage]: ")
    assert told in shown.err


@pytest.mark.parametrize("arguments", [[], ["profiles"], ["host-key"]], ids=" ".join)
def test_a_group_without_a_command_shows_its_help(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"Usage: {' '.join(['remote-runtime', *arguments])} [OPTIONS] COMMAND")


@pytest.mark.parametrize("arguments", [wrong for wrong, _ in WRONG_USAGE], ids=" ".join)
def test_wrong_usage_with_json_is_one_document_on_stdout(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> None:
    assert main([*arguments, "--json"]) == 2
    assert error_of(capsys)["code"] == "usage"


@pytest.mark.parametrize("command", [["url"], ["logs"], ["open"], ["ssh"], ["ssh", "--", "ls"], ["host-key", "show"]])
def test_a_command_without_a_name_says_how_to_start_a_runtime(
    capsys: pytest.CaptureFixture[str], command: Sequence[str]
) -> None:
    assert main(["--json", *command]) == 1
    error = error_of(capsys)
    assert (error["code"], error["what"]) == ("not-up", "No runtimes running")
    assert "`remote-runtime up PROFILE`" in error["hint"]


@pytest.mark.parametrize("command", [["up"], ["ssh"], ["profiles", "show"], ["profiles", "check"]], ids=" ".join)
def test_an_unknown_profile_is_told_with_near_misses(
    capsys: pytest.CaptureFixture[str], command: Sequence[str]
) -> None:
    assert main([*command, "demoo", "--json"]) == 2
    error = error_of(capsys)
    assert error["code"] == "profile-not-found"
    assert "demo" in error["hint"]


def test_a_broken_profile_is_told_with_file_and_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("version: 1\ntarget: {kind: local}\nshh: {user: me}\n", encoding="utf-8")
    assert main(["up", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error[profile-invalid]" in shown.err
    assert f": 1 problem in {path}\n" in shown.err
    assert "\n  3:1  shh  unknown key, did you mean `ssh`?\n" in shown.err
    assert "\n  3 | shh\n    | ^^^\n" in shown.err


def test_a_name_that_cannot_be_one_never_becomes_a_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in ("url", "logs", "status", "down"):
        assert main([command, "..", "--json"]) == 2, command
        assert error_of(capsys)["code"] == "profile-invalid"


def test_what_is_not_up_has_no_url_and_is_down_already(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["url", "demo", "--json"]) == 1
    assert error_of(capsys)["code"] == "not-up"
    assert main(["status", "demo", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["runtimes"][0]["state"] == "down"
    assert main(["down", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "stopped": [{"name": "demo", "tunnel": False, "server": "gone", "instance": None}],
    }


def test_with_nothing_up_status_is_empty_and_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "runtimes": []}
    assert main(["down", "--all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "stopped": []}


def test_what_is_up_is_the_answer_and_quiet_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-q"]) == 0
    assert "No runtimes running" in capsys.readouterr().out


def test_the_schema_is_itself_a_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--json"], ["-q"]):
        assert main(["profiles", "check", "--schema", *options]) == 0
        assert json.loads(capsys.readouterr().out)["$schema"].startswith("https://json-schema.org/")


def test_this_computer_needs_no_host_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "here.yaml"
    path.write_text("version: 1\ntarget: {kind: local}\n", encoding="utf-8")
    assert main(["host-key", "show", str(path)]) == 0
    assert capsys.readouterr().out == "here runs on this computer, which requires no host key.\n"


def test_a_path_is_shown_without_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "\x1b]0;pwned\x07\x1b[2Jmine\u202e"
    folder.mkdir()
    path = folder / "here.yaml"
    path.write_text('version: 1\ntarget: {kind: local}\njupyter: {env: {A: "\u202eB"}}\n', encoding="utf-8")
    for command in ("show", "check"):
        assert main(["profiles", command, str(path)]) == 0
        shown = capsys.readouterr().out
        assert f"{tmp_path}/mine/here.yaml" in shown
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["words", "json"])
def test_a_bug_is_told_with_the_place_of_its_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: Sequence[str]
) -> None:
    path = tmp_path / "state" / "bugs.log"
    arguments = ["status", *options]
    assert main(arguments, command=broken) == 3
    assert "RuntimeError: nobody thought of it" in path.read_text()
    if options:
        error = error_of(capsys)
        assert (error["code"], error["why"]) == ("bug", str(path))
    else:
        shown = capsys.readouterr()
        assert shown.out == ""
        assert str(path) in shown.err


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1)
def broken(arguments: Sequence[str]) -> None:
    raise RuntimeError("nobody thought of it")


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", [[], ["up"], ["down"], ["bridge"], ["profiles", "check"]], ids=" ".join)
def test_help_is_an_answer(capsys: pytest.CaptureFixture[str], command: Sequence[str], option: str) -> None:
    assert main([*command, option]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"Usage: {' '.join(['remote-runtime', *command])} ")
    assert shown.err == ""


def test_the_module_is_the_command() -> None:
    version = run("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"remote-runtime {__version__}\n", "")
    wrong = run("up", "--json")
    assert (wrong.returncode, wrong.stderr) == (2, "")
    assert json.loads(wrong.stdout)["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["status"], ["status", "demo"], ["down", "demo"], ["url", "demo"]], ids=" ".join
)
def test_quick_commands_load_no_slow_library(arguments: Sequence[str]) -> None:
    done = run(*arguments, python_options=["-X", "importtime"])
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "click" in loaded
    assert not loaded & {"google", "paramiko", "sshtunnel", "rich", "requests", "asyncssh", "websockets"}
    assert "subprocess" not in loaded or arguments != ["--help"], "only `up` begins a process at once"


def test_up_loads_nothing_more_before_it_prints_the_url() -> None:
    script = (
        "import sys; from remote_runtime.cli.up import _copy_and_open; _copy_and_open('', False, False, None)\n"
        "print([name for name in ('http.client', 'remote_runtime.jupyter.health') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_closed_pipe_is_no_bug() -> None:
    command = f"{sys.executable} -m remote_runtime profiles check --schema | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("{", "")


def error_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["schema"] == 1
    assert shown.err == ""
    assert set(document["error"]) - {"problems"} == {"code", "what", "why", "hint"}
    return dict(document["error"])


def run(*arguments: str, python_options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python_options, "-m", "remote_runtime", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def test_a_profile_that_cannot_be_used_does_not_widen_the_list(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config" / "profiles"
    folder.mkdir(parents=True)
    (folder / "bad.yaml").write_text("version: 1\ntarget: {kind: gce, instanc: a}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["profiles", "list"]) == 0
    shown = capsys.readouterr()
    rows = [re.split("  +", line) for line in shown.out.splitlines()]
    assert rows[0] == ["NAME", "KIND", "TARGET", "SOURCE"]
    assert rows[1] == ["bad", "invalid", "~/config/profiles/bad.yaml"]
    assert ["demo", "demo", "emulated VM", "built in"] in rows
    assert not [row for row in rows if row[0] == "example"], "a template is no profile to bring up"
    assert "Templates: example, deep-learning-vm" in shown.err
    assert "bad is invalid: line 2: target.instanc: unknown key, did you mean `instance`?" in shown.err
    assert main(["profiles", "list", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)["profiles"]}
    assert (listed["demo"]["kind"], listed["demo"]["template"], listed["example"]["template"]) == ("demo", False, True)


def test_checking_several_profiles_tells_of_each(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text("version: 1\ntarget: {kind: nowhere}\n")
    good.write_text("version: 1\ntarget: {kind: local}\n")
    assert main(["profiles", "check", str(bad), str(good), "missing"]) == 2
    shown = capsys.readouterr()
    assert f"{good}: valid" in shown.out
    assert "profile-invalid" in shown.err
    assert "profile-not-found" in shown.err
