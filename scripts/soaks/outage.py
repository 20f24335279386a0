"""A machine that is gone for ten minutes, or for a given time: when the URL works again, and what
the keeper weighs."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.support.environment.world import World
from tests.support.faults.link_faults import HEAD, Survivor, faults_of_the_machine
from tests.support.machines.gce_vm import cloud_machine

from .faults import tell


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the machine is gone")
    gone_s = parser.parse_args(arguments).seconds
    with tempfile.TemporaryDirectory(prefix="rr-") as home, cloud_machine(world := World(Path(home))) as vm:
        survivor = Survivor(world, vm)
        before = world.keeper("vm").memory_info().rss
        gone, *_ = faults_of_the_machine(survivor, gone_s=gone_s)
        row = gone()
        after = world.keeper("vm").memory_info().rss
        tell(f"{HEAD}\n{row}\nthe keeper: {before / 1e6:.1f} MB at rest before, {after / 1e6:.1f} MB after")
        tell(f"tries: {world.log('vm').count('attempt ')}")
    return 0
