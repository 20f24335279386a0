"""The clipboard of the computer that the user sits at: by a program, or by the terminal."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from remote_runtime.commands.desktop import osc52
from tests.support.clients.terminal_user import at_a_terminal

TEXT = "http://localhost:8888/?token=abc"
CODE = f"import os; from remote_runtime.commands.desktop import copy; print(copy({TEXT!r}, os.environ))"
ENCODED = base64.b64encode(TEXT.encode()).decode()
SEQUENCE = f"\x1b]52;c;{ENCODED}\x07"
VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "SSH_CONNECTION", "SSH_TTY", "TMUX", "STY")


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    without = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return {**without, "TERM": "xterm-256color", **changes}


def copied_on_a_terminal(changes: Mapping[str, str]) -> str:
    with at_a_terminal([sys.executable, "-c", CODE], environment(changes)) as person:
        person.waits()
        return person.raw


@pytest.fixture
def clipboard(tmp_path: Path) -> Path:
    """``xclip``, which writes what it is given into a file."""
    program = tmp_path / "bin" / "xclip"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/copied\n")
    program.chmod(0o755)
    return tmp_path / "copied"


def with_program(clipboard: Path) -> dict[str, str]:
    return {"DISPLAY": ":0", "PATH": f"{clipboard.parent}/bin{os.pathsep}{os.environ['PATH']}"}


def test_without_a_desktop_the_terminal_copies() -> None:
    shown = copied_on_a_terminal({})
    assert SEQUENCE in shown
    assert "True" in shown


def test_a_program_copies_on_a_desktop(clipboard: Path) -> None:
    shown = copied_on_a_terminal(with_program(clipboard))
    assert SEQUENCE not in shown
    assert clipboard.read_text() == TEXT


def test_over_ssh_the_terminal_copies_although_there_is_a_program(clipboard: Path) -> None:
    shown = copied_on_a_terminal({**with_program(clipboard), "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"})
    assert SEQUENCE in shown
    assert not clipboard.exists()


@pytest.mark.parametrize("changes", [{"TERM": "dumb"}], ids=["dumb"])
def test_a_terminal_without_control_sequences_gets_none(changes: dict[str, str]) -> None:
    assert "\x1b" not in copied_on_a_terminal(changes)


def test_without_a_terminal_nothing_is_written() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment({}), capture_output=True, text=True, timeout=60, check=False
    )
    assert "no-clipboard" in done.stderr or "This computer has no clipboard" in done.stderr
    assert "]52;" not in done.stdout + done.stderr


def test_multiplexers_pass_the_sequence_on() -> None:
    assert osc52(TEXT, {}) == SEQUENCE
    assert osc52(TEXT, {"STY": "1.pts"}) == f"\x1bP{SEQUENCE}\x1b\\"
    assert osc52(TEXT, {"TMUX": "/tmp/tmux"}) == f"\x1bPtmux;\x1b{SEQUENCE}\x1b\\"


def test_tmux_copies_by_its_own_command(tmp_path: Path) -> None:
    tmux = shutil.which("tmux")
    assert tmux is not None, "the tests need tmux"
    environ = environment({"TMUX_TMPDIR": str(tmp_path)})
    command = f"{sys.executable} -c '{CODE.replace(chr(39), chr(34))}'; {tmux} wait-for -S copied; sleep 60"
    subprocess.run([tmux, "-f", "/dev/null", "new-session", "-d", command], env=environ, timeout=60, check=True)
    try:
        subprocess.run([tmux, "wait-for", "copied"], env=environ, timeout=60, check=True)
        buffer = subprocess.run(
            [tmux, "show-buffer"], env=environ, capture_output=True, text=True, timeout=60, check=True
        )
        assert buffer.stdout == TEXT
    finally:
        subprocess.run([tmux, "kill-server"], env=environ, timeout=60, check=False)
