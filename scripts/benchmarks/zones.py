"""What zones without capacity cost a creation, beyond what Compute Engine itself takes to say so.

The whole worker process of ``compute.create`` against the emulator, whose operation fails after ``--answer`` seconds in
each exhausted zone. Cost: the time of the creation, less that of one without exhausted zones, less these answers.
"""

from __future__ import annotations

import argparse
import sys
import time

from remote_runtime import compute
from remote_runtime.core.deadline import Deadline
from remote_runtime.demo.gcp_api.values import Delays
from tests.support.environment.creation import ZONES, plan_of
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator

from .table import machine, spread

COUNTS = (0, 2, 5)
MAX_COST_S = 1.0  # a zone


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench zones", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--answer", type=float, default=0.5, metavar="SECONDS", help="of the API, in each zone")
    options = parser.parse_args(arguments)
    taken: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(options.rounds):
        for count in COUNTS:
            taken[count].append(_create(count, options.answer))
    print(machine())  # noqa: T201  # a program's answer
    print("| Exhausted zones | Creation, s | Beyond the API's answers, s | A zone, s |")  # noqa: T201
    print("| --- | --- | --- | --- |")  # noqa: T201
    is_met = True
    for count in COUNTS:
        beyond = [each - base - count * options.answer for each, base in zip(taken[count], taken[0], strict=True)]
        of_zone = [each / count for each in beyond] if count else []
        is_met &= all(each <= MAX_COST_S for each in of_zone)
        shown = (spread(beyond), spread(of_zone)) if count else ("–", "–")
        print(f"| {count} | {spread(taken[count])} | {shown[0]} | {shown[1]} |")  # noqa: T201
    sys.stderr.write(f"Goal: at most {MAX_COST_S:g} s a zone: {'met' if is_met else 'MISSED'}\n")
    return 0 if is_met else 1


def _create(count: int, answer_s: float) -> float:
    delays = Delays(queue_s=0.0, insert_s=2 * answer_s, boot_s=0.0)  # it fails after half of ``insert_s``
    with FaultyEmulator([], project_metadata={"demo": {}}, delays=delays) as emulator:
        emulator.cloud.exhausted = dict.fromkeys(ZONES[:count], "ZONE_RESOURCE_POOL_EXHAUSTED")
        began = time.monotonic()
        compute.create(
            plan_of(*ZONES),
            progress=lambda text: None,
            deadline=Deadline(120),
            environ=emulator_environ(emulator.endpoint),
            before_insert=lambda resource: None,
            after_zone=lambda attempt: None,
            options=compute.ReadyOptions(host_keys_within_s=0.0),
        )
        return time.monotonic() - began
