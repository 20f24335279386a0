"""``-q`` says nothing beside the answer, ``-v`` says where a command looks, on every command."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from remote_runtime.cli import cli, main

# Those that succeed where nothing is up; the others stand in tests/acceptance/cli/test_quiet.py.
ALONE = [
    ["status"],
    ["status", "demo"],
    ["down", "demo"],
    ["down", "--all"],
    ["doctor"],
    ["profiles", "list"],
    ["profiles", "show", "demo"],
    ["profiles", "check", "demo"],
    ["profiles", "check", "--schema"],
    ["host-key", "show", "local"],
    ["host-key", "forget", "local"],
    ["bridge", "status"],
]


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for kind in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"REMOTE_RUNTIME_{kind}_DIR", str(tmp_path / kind.lower()))
    return tmp_path


def leaves(command: click.Command) -> Iterator[click.Command]:
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from leaves(each)
    else:
        yield command


def test_every_command_can_be_quiet_talkative_and_json() -> None:
    for command in leaves(cli):
        names = {name for parameter in command.params for name in parameter.opts}
        assert {"-q", "-v", "--json"} <= names, command.name
        assert command.callback is not None
        assert "output" in inspect.signature(command.callback).parameters, command.name


@pytest.mark.parametrize("arguments", ALONE, ids=" ".join)
def test_quiet_is_silent_beside_the_answer(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main([*arguments, "-q"]) in (0, 1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", ALONE, ids=" ".join)
def test_verbose_says_where_it_looks_and_changes_no_answer(
    capsys: pytest.CaptureFixture[str], arguments: list[str], own_places: Path
) -> None:
    code = main([*arguments, "--json"])
    plain = capsys.readouterr()
    assert main([*arguments, "--json", "-v"]) == code
    talkative = capsys.readouterr()
    assert talkative.out == plain.out
    assert f"State: {own_places}/state\n" in talkative.err
    assert f"{own_places}/config/profiles" in talkative.err
    assert main([*arguments, "-q", "-v"]) == code
    assert "State:" not in capsys.readouterr().err
