"""Other names of commands, flags on both sides of them, `help` and `version`, and runtimes that are not named."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click
import pytest

from remote_runtime import __version__
from remote_runtime.cli import cli, main
from remote_runtime.cli.other_names import ALIASES, SUGGESTIONS
from remote_runtime.core import file_lock
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.documents import runtime_document
from remote_runtime.core.errors import CODES
from remote_runtime.core.model import Runtime, Secret
from remote_runtime.state import ipc, store
from tests.support.clients.terminal_user import at_a_terminal
from tests.unit.cli.test_status_table import SERVER

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> store.StateDir:
    for kind in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"REMOTE_RUNTIME_{kind}_DIR", str(tmp_path / kind.lower()))
    return store.StateDir(tmp_path / "state")


@pytest.fixture
def running(state: store.StateDir) -> Iterator[ExitStack]:
    """``one`` is running; the log of ``two`` is there."""
    state.path.mkdir(mode=0o700)
    with ExitStack() as stack:
        start("one", state, stack)
        (state.path / "one.log").write_text("2026-11-30 10:00:00,000 INFO a.b: of one\n")
        (state.path / "two.log").write_text("2026-11-30 10:00:00,000 INFO a.b: of two\n")
        yield stack


def start(name: str, state: store.StateDir, stack: ExitStack) -> None:
    store.save(state, Runtime(name, f"/{name}.yaml", {"kind": "local"}, "c", state="starting"))
    stack.enter_context(file_lock.locked(state.file_path(name, "alive"), Deadline(5.0)))


def run(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_an_alias_is_the_command_and_stands_on_no_page(capsys: Captured, state: store.StateDir) -> None:
    for alias, command in ALIASES.items():
        assert run(capsys, alias, "--help") == run(capsys, command, "--help")
    listed = run(capsys, "--help")[1]
    names = {line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line.strip()}
    assert not names & set(ALIASES)
    assert set(ALIASES.values()) <= names


def test_a_list_of_runtimes_names_the_list_of_profiles(capsys: Captured, state: store.StateDir) -> None:
    assert "profiles list" not in run(capsys, "ps")[2]
    for alias in ("list", "ls"):
        assert "remote-runtime profiles list" in run(capsys, alias)[2]
        assert json.loads(run(capsys, alias, "--json")[1])["runtimes"] == []


def test_each_suggestion_is_a_command() -> None:
    for word, lines in SUGGESTIONS.items():
        assert word not in cli.commands
        assert word not in ALIASES
        for line in lines:
            command: click.Command = cli
            for part in line.split():
                if isinstance(command, click.Group):
                    command = command.commands[part]


@pytest.mark.parametrize("flags", [["-q"], ["-v"], ["--json"], ["-v", "--json"]], ids=" ".join)
def test_a_flag_means_the_same_before_and_after_the_command(
    capsys: Captured, state: store.StateDir, flags: list[str]
) -> None:
    after = run(capsys, "status", *flags)
    assert run(capsys, *flags, "status") == after
    nested = run(capsys, "profiles", "list", *flags)
    assert run(capsys, "profiles", *flags, "list") == run(capsys, *flags, "profiles", "list") == nested
    assert (nested[1].startswith("{"), bool(nested[2])) == ("--json" in flags, "-v" in flags)


def test_the_version_is_printed_in_three_ways(capsys: Captured) -> None:
    printed = (0, f"remote-runtime {__version__}\n", "")
    assert run(capsys, "-V") == run(capsys, "--version") == run(capsys, "version") == printed
    assert json.loads(run(capsys, "version", "--json")[1])["version"] == __version__


def test_help_shows_the_page_of_a_command(capsys: Captured) -> None:
    assert run(capsys, "help") == run(capsys, "--help")
    assert run(capsys, "help", "stop") == run(capsys, "help", "down") == run(capsys, "down", "--help")
    assert run(capsys, "help", "profiles", "new") == run(capsys, "profiles", "new", "--help")
    page = json.loads(run(capsys, "help", "up", "--json")[1])
    assert page["command"] == "remote-runtime up"
    assert page["help"].startswith("Usage: remote-runtime up ")


@pytest.mark.parametrize("code", CODES)
def test_help_shows_the_page_of_an_error_code(capsys: Captured, code: str) -> None:
    entry = CODES[code]
    status, page, progress = run(capsys, "help", code)
    assert (status, progress) == (0, "")
    words = " ".join(page.split())
    assert words.startswith(f"error[{code}]")
    assert entry.meaning in words
    assert f"Cause: {entry.cause}" in words
    assert f"Fix: {entry.fix}" in words
    document = json.loads(run(capsys, "help", code, "--json")[1])
    assert (document["code"], document["cause"], document["fix"]) == (code, entry.cause, entry.fix)
    assert code not in cli.commands, "the page would hide that of the command"


def test_the_only_running_runtime_need_not_be_named(capsys: Captured, running: ExitStack) -> None:
    assert "of one" in run(capsys, "logs")[1]
    for command in ("url", "open"):
        assert "one is starting" in run(capsys, command)[2]


def test_the_url_is_printed_while_the_runtime_is_reconnecting(capsys: Captured, state: store.StateDir) -> None:
    state.path.mkdir(mode=0o700)
    server = replace(SERVER, token=Secret("abc"))
    runtime = Runtime("one", "/one.yaml", {"kind": "ssh"}, "c", state="reconnecting", local_port=8888, server=server)

    def reply(channel: ipc.ControlChannel) -> None:
        channel.receive(5.0)
        channel.send({"runtime": runtime_document(runtime)})

    lock = file_lock.locked(state.file_path("one", "alive"), Deadline(5.0))
    with lock, ipc.serve(state, "one", reply):
        store.save(state, runtime)
        code, printed, message = run(capsys, "url")
        assert (code, printed) == (0, "http://localhost:8888/?token=abc\n")
        assert "one is reconnecting; this URL works again when it is ready" in message
        assert json.loads(run(capsys, "url", "--json")[1])["state"] == "reconnecting"


@pytest.mark.parametrize(
    ("command", "question", "refusal"),
    [("up", "Start two? [Y/n]", "Nothing was started."), ("down", "Stop one? [y/N]", "Nothing was stopped.")],
)
def test_a_name_that_is_left_out_is_proposed_and_nothing_happens_without_a_yes(
    command: str, question: str, refusal: str, running: ExitStack, state: store.StateDir
) -> None:
    folder = state.path.parent / "config" / "profiles"
    folder.mkdir(parents=True)
    (folder / "two.yaml").write_text("version: 1\ntarget: {kind: local}\n")
    with at_a_terminal([sys.executable, "-m", "remote_runtime", command], os.environ) as person:
        person.sees(question)
        person.types("n")
        assert person.waits() == 130
    assert refusal in person.shown


def test_several_running_runtimes_are_listed(capsys: Captured, running: ExitStack, state: store.StateDir) -> None:
    start("two", state, running)
    for command in (["url"], ["logs"], ["open"], ["ssh"], ["host-key", "show"]):
        code, printed, message = run(capsys, *command)
        assert (code, printed) == (2, "")
        assert "error[usage]" in message
        assert "running: one, two" in message
        assert f"fix: remote-runtime {' '.join(command)} one\n" in message


def test_the_only_log_is_shown_when_nothing_is_running(capsys: Captured, state: store.StateDir) -> None:
    state.path.mkdir(mode=0o700)
    (state.path / "old.log").write_text("2026-11-30 10:00:00,000 INFO a.b: of old\n")
    (state.path / "old.port").write_text("{}")
    assert run(capsys, "logs", "--json")[0] == 2, "there is no profile of this name, as when it is named"


def test_what_starts_and_stops_is_never_guessed_without_a_terminal(
    capsys: Captured, running: ExitStack, tmp_path: Path
) -> None:
    assert "Name the runtimes to stop" in run(capsys, "down")[2]
    folder = tmp_path / "config" / "profiles"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("version: 1\ntarget: {kind: local}\n")
    assert "fix: remote-runtime up mine\n" in run(capsys, "up")[2]
    (folder / "other.yaml").write_text("version: 1\ntarget: {kind: local}\n")
    assert "profiles: mine, other" in run(capsys, "up")[2]
