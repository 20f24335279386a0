"""`up` right after an `up` that was killed at any moment: how many fail, and with what."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.environment.world import World
from tests.support.faults.faults import ssh_host

SIGNALS = (signal.SIGKILL, signal.SIGHUP, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak killed-ups", description=__doc__)
    parser.add_argument("--number", type=int, default=60)
    parser.add_argument("--least", type=float, default=0.2, metavar="SECONDS", help="until it is killed")
    parser.add_argument("--most", type=float, default=1.3, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    chance = random.Random(given.seed)  # noqa: S311  # not a secret
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="rr-") as home:
        world = World(Path(home))
        with ssh_host(world):
            for number in range(given.number):
                sign = SIGNALS[number % len(SIGNALS)]
                after_s = chance.uniform(given.least, given.most)
                end = again(world, sign, after_s)
                ends[end] += 1
                tell(f"{sign.name} after {after_s:.1f} s: {end}")
    tell(f"{given.number} `up`s: {', '.join(f'{count} {end}' for end, count in ends.most_common())}")
    return int(set(ends) != {"ready"})


def again(world: World, sign: signal.Signals, after_s: float) -> str:
    first = world.start("up", "box")
    time.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(first.pid, sign)
    done = world.run("up", "box", "--json")
    first.communicate()
    end = "ready" if done.code == 0 else f"{done.error['code']}: {done.error['what']}"
    world.run("down", "box", "--force")
    return end


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
