"""`sync` after random edits of both sides: through a real sshd, over a runtime's connection, which is cut, and with the
command killed, at random moments. After each cut a second sync has to make the target like the source."""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from remote_runtime.files.remote.names import to_path
from tests.support.environment.world import World
from tests.support.faults.faults import know
from tests.support.faults.random_edits import RandomEdits, is_theirs, picture, violations
from tests.support.servers.sshd import Sshd, make_key, running_sshd

ROUNDS = 5
MAX_CUT_AFTER_S = 1.5


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak sync", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="how many pairs of folders (default: 50)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    asked = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rr-soak-") as directory, running_sshd(_made(directory, "sshd")) as sshd:
        world = World(_made(directory, "home"))
        try:
            _profile(world, sshd)
            world.up("box")
            for seed in range(asked.first, asked.first + asked.seeds):
                found = SyncSoak(world, sshd, _made(directory, f"pair-{seed}"), seed, counts).run()
                wrong += [f"seed {seed}: {each}" for each in found]
                _tell(f"seed {seed}: {'; '.join(found) or 'good'}")
        finally:
            world.end()
    _tell(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    _tell(f"{len(wrong)} violations")
    return 1 if wrong else 0


class SyncSoak:
    """One pair of folders. With an odd seed the source is on the machine."""

    def __init__(self, world: World, sshd: Sshd, top: Path, seed: int, counts: Counter[str]) -> None:
        self._world, self._sshd, self._counts = world, sshd, counts
        self._random = random.Random(seed)  # noqa: S311  # edits and moments
        self._edits = RandomEdits(self._random)
        self._source, self._target = _made(top, "source"), _made(top, "target")
        sides = (
            [str(self._source), f"box:{self._target}"] if seed % 2 == 0 else [f"box:{self._source}", str(self._target)]
        )
        self._command = ["sync", *sides, "--json"]

    def run(self) -> list[str]:
        wrong: list[str] = []
        for _ in range(ROUNDS):
            wrong += self._round()
        return wrong

    def _round(self) -> list[str]:
        chance = self._random
        self._edits.edit(self._source, "S", chance.randint(0, 30))
        self._edits.edit(self._target, "T", chance.choice([0, 0, 2, 6]))
        delete, force = chance.random() < 0.5, chance.random() < 0.2
        options = ["--delete"] * delete + ["--force"] * force
        theirs = {path: value for path, value in picture(self._target).items() if is_theirs(value[1])}
        if chance.random() < 0.7:
            self._cut_off(options)
            self._edits.edit(self._source, "S", chance.randint(0, 3))
        source, now = picture(self._source), picture(self._target)
        before = {**now, **({} if force else theirs)}
        done = self._world.run(*self._command, *options)
        self._counts["syncs"] += 1
        document = json.loads(done.out)
        if "kept" not in document:
            return [f"it failed: {document['error']}"]
        exceptions = {to_path(each["path"]): each["why"] for each in document["kept"] + document["failed"]}
        wrong = [f"not synced: {each}" for each in document["failed"]]
        self._counts["paths copied"] += len(document["copied"])
        self._counts["paths kept"] += len(document["kept"])
        self._counts["paths deleted"] += len(document["deleted"])
        return wrong + violations(source, before, picture(self._target), exceptions, delete=delete, force=force)

    def _cut_off(self, options: list[str]) -> None:
        child = self._world.start(*self._command, *options)
        time.sleep(self._random.uniform(0, MAX_CUT_AFTER_S))
        if self._random.random() < 0.5:
            self._counts["commands killed"] += child.poll() is None
            child.send_signal(signal.SIGKILL)
        else:
            self._counts["connections cut"] += self._sshd.cut()
        try:
            child.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            self._counts["syncs without an end"] += 1
            child.kill()


def _profile(world: World, sshd: Sshd) -> None:
    key = world.home / "key"
    make_key(key)
    sshd.authorize(key.with_suffix(".pub").read_text())
    know(world, sshd)
    target = f"target: {{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}"
    jupyter = f"jupyter: {{python: {sys.executable}}}"
    world.profile("box", f"version: 1\n{target}\nssh: {{user: {sshd.user}, identity_file: {key}}}\n{jupyter}\n")


def _made(top: str | Path, name: str) -> Path:
    path = Path(top) / name
    path.mkdir()
    return path


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
