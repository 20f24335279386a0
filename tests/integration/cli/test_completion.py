"""What the Tab key completes: in the program, and in a real bash at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import CompletionItem, ShellComplete

from remote_runtime.cli import cli
from remote_runtime.core import file_lock
from remote_runtime.core.deadline import Deadline
from tests.support.clients.terminal_user import at_a_terminal

PROGRAM = Path(sys.executable).parent / "remote-runtime"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Profiles `work` and `vision`; `work` is up, of `old` something is left, `done` has only a log."""
    profiles, state = tmp_path / "profiles", tmp_path / "state"
    profiles.mkdir()
    state.mkdir(mode=0o700)
    for name in ("work", "vision"):
        (profiles / f"{name}.yaml").write_text("this is not read\n")
    for name in ("work.json", "old.json", "work.log", "done.log", "bugs.log"):
        (state / name).write_text("{}")
    monkeypatch.setenv("REMOTE_RUNTIME_PROFILES", str(profiles))
    monkeypatch.setenv("REMOTE_RUNTIME_STATE_DIR", str(state))
    monkeypatch.setenv("REMOTE_RUNTIME_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    with file_lock.locked(state / "work.alive", Deadline(5.0)):
        yield tmp_path


def completed(*words: str) -> list[CompletionItem]:
    return ShellComplete(cli, {}, "remote-runtime", "_REMOTE_RUNTIME_COMPLETE").get_completions(
        list(words[:-1]), words[-1]
    )


PACKAGED = {"deep-learning-vm", "demo", "demo-iap", "demo-new", "example", "local"}
TABLE: list[tuple[list[str], set[str]]] = [
    (["up", ""], {"work", "vision", *PACKAGED}),
    (["up", "v"], {"vision"}),
    (["up", "work", ""], {"vision", *PACKAGED}),
    (["doctor", "w"], {"work"}),
    (["ssh", "vi"], {"vision"}),
    (["profiles", "show", "wo"], {"work"}),
    (["profiles", "check", "work", "v"], {"vision"}),
    (["host-key", "show", "wo"], {"work"}),
    (["down", ""], {"old", "work"}),
    (["down", "work", ""], {"old"}),
    (["status", ""], {"old", "work"}),
    (["url", ""], {"work"}),
    (["logs", ""], {"done", "work"}),
    (["down", "--st"], {"--stop-instance"}),
    (["do"], {"doctor", "down"}),
    (["st"], {"status"}),
    (["stop", ""], {"old", "work"}),
    (["-v", "start", "v"], {"vision"}),
    (["help", "port-in"], {"port-in-use"}),
    (["help", "profiles", "n"], {"new"}),
    (["completion", "f"], {"fish"}),
    (["up", "no-such"], set()),
]


@pytest.mark.parametrize(("words", "wanted"), TABLE, ids=[" ".join(words) for words, _ in TABLE])
def test_names_are_completed_by_what_they_are(places: Path, words: list[str], wanted: set[str]) -> None:
    found = completed(*words)
    assert {item.value for item in found} == wanted
    assert {item.type for item in found} <= {"plain"}


@pytest.mark.parametrize(
    "words", [["up", "./"], ["up", "~/p"], ["doctor", "--report", ""], ["bridge", "enable", "--python", ""]]
)
def test_paths_are_left_to_the_shell(places: Path, words: list[str]) -> None:
    assert [(item.type, item.value) for item in completed(*words)] == [("file", words[-1])]


def test_what_is_up_is_told_beside_its_name(places: Path) -> None:
    assert {item.value: item.help for item in completed("down", "")} == {"work": "running", "old": "not cleaned up"}
    assert [str(item.help).endswith("work.yaml") for item in completed("up", "wor")] == [True]


def test_a_state_folder_that_cannot_be_used_completes_nothing(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTE_RUNTIME_STATE_DIR", str(places / "profiles" / "work.yaml"))
    assert completed("down", "") == []


def asked(*words: str) -> dict[str, str]:
    line = ["remote-runtime", *words]
    return {"_REMOTE_RUNTIME_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(words))}


@pytest.mark.parametrize("words", [["up", "v"], ["down", ""], ["logs", ""], ["s"]], ids=" ".join)
def test_completing_loads_nothing_slow(places: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "remote_runtime"],
        env={**os.environ, **asked(*words)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "click" in loaded
    assert not loaded & {"google", "paramiko", "sshtunnel", "rich", "requests", "asyncssh", "websockets"}


def test_the_tab_key_completes_in_a_real_bash(places: Path) -> None:
    environ = {**os.environ, "PATH": os.pathsep.join([str(PROGRAM.parent), os.environ["PATH"]]), "PS1": "$ "}
    with at_a_terminal(["bash", "--norc", "--noprofile", "-i"], environ) as person:
        person.sees("$ ")
        person.types('eval "$(_REMOTE_RUNTIME_COMPLETE=bash_source remote-runtime)"; echo hooked-$((1+1))')
        person.sees("hooked-2")
        person.types("echo remote-runtime up vis\t", enter=False)  # not ours to complete
        person.types("\x15remote-runtime up vis\t", enter=False)
        person.sees("up vision ")
        person.types("\x15remote-runtime down wo\t", enter=False)
        person.sees("down work ")
        person.types("\x15remote-runtime profiles check ./prof\t", enter=False)
        person.sees("check ./profiles/")
        person.types("\x15exit")
        person.waits()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(places: Path, shell: str) -> None:
    done = subprocess.run(
        [PROGRAM, "completion", shell], env=os.environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert "remote-runtime" in done.stdout
    read = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, text=True, timeout=60, check=True)
    assert read.stderr == ""


def at_home(home: Path) -> dict[str, str]:
    paths = os.pathsep.join([str(PROGRAM.parent), os.environ["PATH"]])
    without = {name: value for name, value in os.environ.items() if not name.startswith("XDG_") and name != "ZDOTDIR"}
    return {**without, "HOME": str(home), "PATH": paths, "TERM": "xterm", "PS1": "$ "}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_an_installed_completion_works_in_a_new_shell_and_can_be_removed(
    places: Path, tmp_path: Path, shell: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    startup = home / {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}[shell]
    startup.parent.mkdir(parents=True, exist_ok=True)
    startup.write_text("# mine")
    environ = at_home(home)

    def complete(*options: str) -> str:
        command = [str(PROGRAM), "completion", shell, *options]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stderr

    assert "Updated ~/" in complete("--install")
    assert "already installed" in complete("--install")
    with at_a_terminal([shell, "-i"], environ, columns=120) as person:
        person.types("echo ready-$((1+1))" if shell != "fish" else "echo ready-(math 1+1)")
        person.sees("ready-2")
        person.types("remote-runtime up vis\t", enter=False)
        person.sees("up vision")
        person.types("\x15remote-runtime s\t\t", enter=False)  # bash lists on the second
        text = "status" if shell == "bash" else "Show running runtimes and their health."
        person.sees(text)
        person.types("\x15exit")
        person.waits()
    assert "Removed ~/" in complete("--uninstall")
    assert "not installed" in complete("--uninstall")
    assert startup.read_text().rstrip("\n") == "# mine"
    assert [path for path in home.rglob("*remote-runtime*") if path.is_file()] == []
