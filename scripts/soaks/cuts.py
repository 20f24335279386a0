"""Pairs of cuts of the SSH connection, a moment apart: how long until the URL works again. Then cuts during `up`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faults import ssh_host
from tests.support.servers.sshd import Sshd

MOST_S = 60.0
NEVER_S = 90.0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak cuts", description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--ups", type=int, default=20, help="how many `up`s are cut once or twice")
    parser.add_argument("--least", type=float, default=0.2, metavar="SECONDS", help="between the two cuts of a pair")
    parser.add_argument("--most", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    chance = random.Random(given.seed)  # noqa: S311  # not a secret
    with tempfile.TemporaryDirectory(prefix="rr-") as home:
        world = World(Path(home))
        with ssh_host(world) as sshd:
            page = Page(world.up("box"))
            kernel = page.start_kernel()
            page.run(kernel, "kept = 42")
            took = []
            for _ in range(given.pairs):
                eventually(lambda: world.file("box")["state"] == "ready", within_s=MOST_S)
                time.sleep(chance.uniform(0.0, 0.5))
                took.append(pair(sshd, page, chance.uniform(given.least, given.most)))
            table(f"{given.pairs} pairs of cuts, URL works after the second", took)
            tell(f"variable: {'kept' if page.run(kernel, 'print(kept)') == '42' else 'lost'}")
            world.run("down", "box", "--force")
            ups = [up(world, sshd, chance) for _ in range(given.ups)]
            table(f"{given.ups} first `up`s with a cut, beyond an `up` without one", ups)
    return int(max([*took, *ups], default=0.0) > 3.0)


def pair(sshd: Sshd, page: Page, gap_s: float) -> float:
    sshd.cut()
    time.sleep(gap_s)
    sshd.cut()
    began = time.monotonic()
    eventually(lambda: works(page), within_s=MOST_S, what="the URL works again")
    took_s = time.monotonic() - began
    tell(f"{gap_s:.2f} s apart: {took_s:.1f} s")
    return took_s


def up(world: World, sshd: Sshd, chance: random.Random) -> float:
    began = time.monotonic()
    world.run("up", "box")
    whole_s = time.monotonic() - began
    world.run("down", "box", "--force")
    at_s = chance.uniform(0.3, whole_s)
    began = time.monotonic()
    child = world.start("up", "box")
    while child.poll() is None and time.monotonic() - began < at_s:
        time.sleep(0.01)
    cut = sshd.cut()
    _, said = child.communicate(timeout=MOST_S)
    more_s = time.monotonic() - began - whole_s
    tell(f"{cut} cut after {at_s:.1f} s of {whole_s:.1f}: status {child.returncode}, {more_s:+.1f} s")
    if child.returncode:
        tell(said)
    world.run("down", "box", "--force")
    return more_s if child.returncode == 0 else NEVER_S


def works(page: Page) -> bool:
    with suppress(OSError):
        return page.ask("GET", "/api/kernels", within_s=1.0)[0] == 200
    return False


def table(what: str, took: list[float]) -> None:
    if took:
        ordered = sorted(took)
        tell(f"{what}: median {ordered[len(ordered) // 2]:.1f} s, worst {ordered[-1]:.1f} s")


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
