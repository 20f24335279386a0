"""The rows of ``scripts/bench copy`` for `sync` where nothing has changed, beside ``rsync -a``.

They are whole commands with their logins, then over the connection of a runtime; and both without their start and
login, which an empty folder takes too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import table

FILES_IN_A_FOLDER = 100
FILE_BYTES = 300
SETTLE_S = 1.0  # files that are this old are not hashed again
MAX_RATIO = 1.2
FULL, EMPTY = "unchanged", "hollow"


@dataclass
class UnchangedRows:
    """``environ``: of both commands. ``rsync``: the command but for source and target."""

    files: int
    kind: str
    environ: dict[str, str]
    rsync: Sequence[str]
    remote: str
    ours: dict[str, list[float]] = field(default_factory=dict)
    theirs: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, home: Path, rounds: int, *, with_runtime: bool) -> None:
        make_files(home, self.files)
        target = home / "target"
        target.mkdir(exist_ok=True)
        self._round(home, target, "")  # the first copies, the second may hash again what was just written
        time.sleep(SETTLE_S)
        self._round(home, target, "")
        for _ in range(rounds):
            self._round(home, target, "with logins")
        if with_runtime:
            self._run("up", "bench", "-q")
            for _ in range(rounds):
                self._round(home, target, "over a runtime")
            self._run("down", "bench", "--force", "-q")

    def rows(self) -> list[table.Row]:
        return [
            table.Row(f"{name}, beside rsync", ours, self.theirs[name], MAX_RATIO, at_least=False)
            for name, ours in self.ours.items()
        ]

    def _round(self, home: Path, target: Path, way: str) -> None:
        ours, theirs = {}, {}
        for folder in (FULL, EMPTY):
            source = home / "source" / folder
            ours[folder] = self._timed(*_command("sync", "-q", str(source), f"bench:{target / 'ours' / folder}"))
            theirs[folder] = self._timed(*self.rsync, f"{source}/", f"{self.remote}{target / 'theirs' / folder}/")
        if way:
            name = f"no-op sync of {self.files} files, {self.kind}, {way}, s"
            self._add(name, ours[FULL], theirs[FULL])
            self._add(name.replace(", s", " without start, s"), ours[FULL] - ours[EMPTY], theirs[FULL] - theirs[EMPTY])

    def _add(self, name: str, ours_s: float, theirs_s: float) -> None:
        self.ours.setdefault(name, []).append(ours_s)
        self.theirs.setdefault(name, []).append(theirs_s)

    def _run(self, *arguments: str) -> None:
        self._timed(*_command(*arguments))

    def _timed(self, *command: str) -> float:
        begun_at = time.monotonic()
        subprocess.run(command, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        return time.monotonic() - begun_at


def make_files(home: Path, count: int) -> None:
    for side in ("ours", "theirs"):
        (home / "target" / side).mkdir(parents=True, exist_ok=True)
    (home / "source" / EMPTY).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        folder = home / "source" / FULL / f"folder-{number // FILES_IN_A_FOLDER}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (path := folder / f"file-{number}").exists():
            path.write_bytes(os.urandom(FILE_BYTES))


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "remote_runtime", *arguments]
