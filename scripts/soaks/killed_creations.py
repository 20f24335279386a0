"""`up` whose keeper is killed at random moments of a creation and of a move: what it leaves, and the next command."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

from remote_runtime.demo.gcp_api.values import Delays
from tests.support.environment.world import World
from tests.support.faults.killed_keeper import Key, KilledUp, after
from tests.support.machines.new_vm import EmptyProject, empty_project, stopped_vm

SLOW = Delays(insert_s=1.5, disk_s=0.7, delete_s=0.3)


KINDS = ("creation", "move")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak killed-creations", description=__doc__)
    parser.add_argument("--number", type=int, default=20, help="of moments, for creations and for moves each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=KINDS, help="one of the two")
    given = parser.parse_args(arguments)
    chance = random.Random(given.seed)  # noqa: S311  # not a secret
    failures = 0
    for kind in [given.only] if given.only else KINDS:
        ends: Counter[str] = Counter()
        for number in range(given.number):
            then = ("down", "up")[number % 2]
            with tempfile.TemporaryDirectory(prefix="rr-") as home:
                end, moment = once(World(Path(home)), kind, chance.random(), then)
            ends[end] += 1
            failures += end not in ("nothing left", "ready, then nothing left")
            tell(f"{kind}, killed {moment}, then {then}: {end}")
        tell(f"{given.number} {kind}s: {', '.join(f'{count} {end}' for end, count in ends.most_common())}")
    return int(failures > 0)


def once(world: World, kind: str, fraction: float, then: str) -> tuple[str, str]:
    """How it ended, and when the keeper was killed. ``fraction``: of the time until the URL, measured before."""
    with project_of(world, kind) as project:
        options = ("--yes",) if kind == "creation" else ("--move", "--yes")
        up = KilledUp(world, project, "new" if kind == "creation" else "my-vm", options)
        whole_s = DURATIONS.get(kind) or measured(up, kind)
        after_s = fraction * whole_s
        up.kill_after(after(after_s))
        moment = f"{after_s:.1f} s after its start, of {whole_s:.1f} s ({len(up.present())} resources)"
        if unknown := up.unknown():
            return f"unknown: {sorted(unknown)}", moment
        end = "nothing left"
        if then == "up":
            done = world.run("up", up.name, *options, "--json")
            if done.code:
                return f"{done.error['code']}: {done.error['what']}", moment
            end = "ready, then nothing left"
        left = up.take_down()
        if then == "up":
            left = take_orphans(up)  # a data disk, which is not deleted with its VM
        return (f"left: {sorted(left)}" if left else end), moment


DURATIONS: dict[str, float] = {}


def measured(up: KilledUp, kind: str) -> float:
    """Seconds from the start of the keeper to the URL."""
    began = time.monotonic()
    done = up.world.run("up", up.name, *up.options, "--json")
    if done.code:
        raise SystemExit(done.out + up.world.log(up.name))
    DURATIONS[kind] = time.monotonic() - began
    up.take_down()
    take_orphans(up)
    return DURATIONS[kind]


def take_orphans(up: KilledUp) -> set[Key]:
    """What is left after `down --orphan-resources`."""
    up.world.run("down", "--orphan-resources", "--yes", "--json")
    return up.present()


def project_of(world: World, kind: str) -> AbstractContextManager[EmptyProject]:
    return empty_project(world, delays=SLOW) if kind == "creation" else stopped_vm(world, delays=SLOW)


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
