"""The file that kernels execute when they start, beside the user's own startup file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from remote_runtime.bridge.outputs.kernel_function import STARTUP_FILE, kernel_environment


def interactive(env: dict[str, str], code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-i", "-q"], input=code, env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_user_s_own_startup_file_is_executed_too(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("mine = 5\n")
    env = kernel_environment({"PYTHONSTARTUP": str(own)}, "/info.json")
    assert env["PYTHONSTARTUP"] == STARTUP_FILE
    assert interactive(env, "print(mine, [each for each in dir() if not each.startswith('__')])\n") == ["5", "['mine']"]


def test_without_one_nothing_is_left_in_an_interactive_python() -> None:
    env = kernel_environment({}, "/info.json")
    assert "RR_PYTHONSTARTUP" not in env
    assert interactive(env, "print([each for each in dir() if not each.startswith('__')])\n") == ["[]"]


def test_jupyter_client_gets_paths_as_they_are() -> None:
    assert kernel_environment({"A": "${HOME}"}, "/tmp/$x/info.json") == {
        "A": "${HOME}",
        "PYTHONSTARTUP": STARTUP_FILE,
        "RR_SERVER_INFO": "/tmp/$$x/info.json",
    }
