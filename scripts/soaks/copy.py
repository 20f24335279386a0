"""One file of 5 GB, with a hole, to the machine and back over a runtime's connection that is cut meanwhile, through a
real sshd. Expected: each `cp` continues by itself, and the hashes are equal. Also how much memory `cp` takes."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.support.environment.world import World
from tests.support.faults.faults import know
from tests.support.servers.sshd import Sshd, make_key, running_sshd

MB = 1_000_000
CUT_AFTER_S = 8.0
MAX_MEMORY_MB = 400


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak copy", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=5000, help="the size of the file (default: 5000)")
    parser.add_argument("--cuts", type=int, default=3, help="of the connection, in each direction (default: 3)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, running_sshd(Path(name)) as sshd:
        home = Path(name) / "laptop"
        home.mkdir()
        world = World(home)
        try:
            return _copy(world, sshd, options.megabytes, options.cuts)
        finally:
            world.end()


def _copy(world: World, sshd: Sshd, megabytes: int, cuts: int) -> int:
    key = world.home / "key"
    make_key(key)
    sshd.authorize(key.with_suffix(".pub").read_text())
    know(world, sshd)
    target = f"target: {{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}"
    world.profile("box", f"version: 1\n{target}\nssh: {{user: {sshd.user}, identity_file: {key}}}\n")
    world.up("box")
    source, there, back = world.home / "source", sshd.home / "there", world.home / "back"
    with source.open("wb") as file:
        for number in range(megabytes):
            if number % 10:
                file.write(os.urandom(MB))
            else:
                file.seek(MB, os.SEEK_CUR)
    expected, is_good = _digest(source), True
    for words, sides, result in (
        ("to the machine", [str(source), "box:there"], there),
        ("and back", ["box:there", str(back)], back),
    ):
        begun_at, peak_mb, done_cuts = time.monotonic(), 0.0, 0
        process = world.start("cp", "-q", *sides)
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            peak_mb = max(peak_mb, seen.memory_info().rss / MB)
            if done_cuts < cuts and time.monotonic() - begun_at > CUT_AFTER_S * (done_cuts + 1):
                sshd.cut()
                done_cuts += 1
            time.sleep(0.1)
        took_s = time.monotonic() - begun_at
        is_equal = process.returncode == 0 and _digest(result) == expected
        is_good = is_good and is_equal and peak_mb < MAX_MEMORY_MB
        sys.stdout.write(
            f"{megabytes} MB {words}: {took_s:.0f} s, {done_cuts} cuts, at most {peak_mb:.0f} MB of memory, "
            f"{'equal' if is_equal else 'NOT EQUAL'}\n"
        )
        sys.stdout.flush()
    return 0 if is_good else 1


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(MB):
            digest.update(part)
    return digest.hexdigest()
