"""A person's computer for the tests of the whole program: the installed command, with files of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.support.environment.processes import commands_of, end_processes_of

T = TypeVar("T")
COMMAND = (sys.executable, "-m", "remote_runtime")
REPOSITORY = Path(__file__).resolve().parents[3]
WITHIN_S = 90.0
# Of who runs the tests: clouds, agent, folders.
PERSONAL = ("CLOUDSDK_", "GOOGLE_", "GCE_", "JUPYTER", "REMOTE_RUNTIME_", "XDG_", "SSH_")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.out))

    @property
    def error(self) -> dict[str, str]:
        return dict(self.document["error"])


class World:
    """``environ`` is what every command gets; change it before a command to change its world."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "state"
        self.profiles = home / "profiles"
        self.profiles.mkdir()
        self.environ: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith(PERSONAL)},
            "HOME": str(home),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "REMOTE_RUNTIME_STATE_DIR": str(self.state),
            "REMOTE_RUNTIME_PROFILES": str(self.profiles),
            "REMOTE_RUNTIME_CACHE_DIR": str(home / "cache"),
            "PYTHONPATH": str(REPOSITORY),
        }
        self._started: list[subprocess.Popen[str]] = []

    def profile(self, name: str, text: str) -> Path:
        path = self.profiles / f"{name}.yaml"
        path.write_text(text)
        return path

    def run(self, *arguments: str, within_s: float = WITHIN_S, environ: Mapping[str, str] | None = None) -> Done:
        """A command to its end, without a terminal."""
        ended = subprocess.run(
            [*COMMAND, *arguments],
            env={**self.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        return Done(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on, its own process group; ended with the world."""
        child = subprocess.Popen(
            [*COMMAND, *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(child)
        return child

    def up(self, name: str, *arguments: str) -> str:
        """The URL."""
        done = self.run("up", name, *arguments)
        assert done.code == 0, done.err + self.log(name)
        (line,) = done.out.splitlines()
        return line

    def look(self, name: str) -> dict[str, Any]:
        """RUNTIME as `status --json` tells it."""
        (runtime,) = self.run("status", name, "--json").document["runtimes"]
        return dict(runtime)

    def file(self, name: str) -> dict[str, Any]:
        """The state file's runtime."""
        return dict(json.loads((self.state / f"{name}.json").read_text())["runtime"])

    def log(self, name: str) -> str:
        path = self.state / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def left_files(self) -> set[str]:
        return {path.name for path in self.state.iterdir()}

    def running(self) -> list[str]:
        """The command lines of all processes of this world: its home is in their environment or command line."""
        return [f"{pid} {command}" for pid, command in commands_of(self.home).items()]

    def keeper(self, name: str) -> psutil.Process:
        return psutil.Process(int(self.file(name)["keeper_pid"]))

    def end(self) -> None:
        for child in self._started:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            child.communicate()
        if any(self.state.glob("*.json")):
            self.run("down", "--all", "--force")
        end_processes_of(self.home)
