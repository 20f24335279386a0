"""What a terminal of the user's has and an exec channel has not, with the shells that people have."""

from __future__ import annotations

import io
import os
import shutil
import time
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote import login_environment
from remote_runtime.launcher.remote.reply import ReplyWriter
from tests.support.environment.processes import commands_of

# What sets it in a login, and what only where the shell is interactive.
FILES = {
    "bash": (".bash_profile", "export A='it''s'; . ~/.bashrc", ".bashrc", "case $- in *i*) export B=2;; esac"),
    "sh": (".profile", "export A='it''s'\ncase $- in *i*) export B=2;; esac", "", ""),
    "zsh": (".zprofile", "export A='it''s'", ".zshrc", "export B=2"),
    "fish": (".config/fish/config.fish", "set -gx A its; status is-interactive; and set -gx B 2", "", ""),
    "mksh": (".profile", "export A=its", ".mkshrc", "export B=2"),
    "tcsh": (".login", "setenv A its", ".tcshrc", "setenv B 2"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TERM", raising=False)  # as in an exec channel
    return tmp_path


def look(shell: str, monkeypatch: pytest.MonkeyPatch, within_s: float = 20.0) -> login_environment.LoginEnvironment:
    """As the account's own shell says: the password database is not ours to change."""
    import pwd

    entry = list(pwd.getpwuid(os.geteuid()))
    entry[6] = shell
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(entry))
    return login_environment.read_login_environment(ReplyWriter("", io.StringIO(), within_s))


@pytest.mark.parametrize("name", FILES)
def test_the_login_files_of_each_shell_count(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login, text, interactive, more = FILES[name]
    (home / login).parent.mkdir(parents=True, exist_ok=True)
    (home / login).write_text(f"echo hello\n{text}\n")
    if interactive:
        (home / interactive).write_text(f"{more}\n")
    monkeypatch.setenv("FROM_THE_CHANNEL", "3")
    found = look(shutil.which(name) or name, monkeypatch)
    assert found.problem == ""
    assert (found.env["A"], found.env["B"], found.env["FROM_THE_CHANNEL"]) == ("its", "2", "3")
    assert found.env["HOME"] == str(home)
    assert found.env.get("PWD") == os.environ.get("PWD")
    assert found.env.get("TERM") == os.environ.get("TERM")


def test_login_files_that_go_elsewhere_or_hold_the_output_open_cost_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".bash_profile").write_text("export A=1\ncase $- in *i*) exec sh;; esac\nsleep 7 &\n")
    began = time.monotonic()
    assert look("/bin/bash", monkeypatch).env["A"] == "1"
    assert time.monotonic() - began < 6


@pytest.mark.parametrize(("text", "words"), [("sleep 61", "did not end in time"), ("exit", "did not run a command")])
def test_login_files_that_never_end_are_left_and_named(
    text: str, words: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".bash_profile").write_text(f"export A=1\n{text}\n")
    found = look("/bin/bash", monkeypatch, within_s=1.0)
    assert words in found.problem
    assert "A" not in found.env
    assert found.env["HOME"] == str(home)
    assert commands_of(home) == {}


def test_login_files_that_print_without_end_are_read_no_further(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".bash_profile").write_text(
        "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done\n"
    )
    assert "A" not in look("/bin/bash", monkeypatch, within_s=2.0).env


def test_on_a_terminal_of_this_computer_its_own_environment_comes_first(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user may have activated an environment there; a login file begins with a PATH of its own."""
    (home / ".bash_profile").write_text("export PATH=/from/login:/usr/bin HF_HOME=/from/login\n")
    monkeypatch.setenv("PATH", "/activated/bin:/usr/bin")
    monkeypatch.setenv("HF_HOME", "/from/terminal")
    for term, path, value in (
        ("xterm-256color", "/activated/bin:/usr/bin:/from/login", "/from/terminal"),
        ("", "/from/login:/usr/bin:/activated/bin", "/from/login"),
    ):
        monkeypatch.setenv("TERM", term) if term else monkeypatch.delenv("TERM", raising=False)
        env = look("/bin/bash", monkeypatch).env
        assert (env["PATH"], env["HF_HOME"], env.get("TERM", "")) == (path, value, term)


def test_what_would_change_the_server_itself_is_left_out_wherever_it_comes_from(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("JUPYTER_TOKEN", "JUPYTER_GATEWAY_URL", "JUPYTER_SERVER_ALLOW_UNAUTHENTICATED_ACCESS", "JPY_PARENT_PID")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "1")
    (home / ".bash_profile").write_text("".join(f"export {name}=1\n" for name in (*names, "JUPYTER_PATH", "HF_TOKEN")))
    env = look("/bin/bash", monkeypatch).env
    assert not {*names, "JUPYTERHUB_API_TOKEN"} & set(env)
    assert (env["JUPYTER_PATH"], env["HF_TOKEN"]) == ("1", "1")
    assert "HF_TOKEN" not in repr(login_environment.LoginEnvironment(env))
