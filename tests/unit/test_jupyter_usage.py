"""What the idle watchdog concludes: from the process table, and from the clocks."""

from __future__ import annotations

import math
import os

import pytest

from remote_runtime.jupyter.machine.stillness import Stillness
from remote_runtime.jupyter.machine.usage import Process, runs_over_ssh

SOMEBODY = os.geteuid() + 1
# Above the highest pid that Linux gives, so that nothing is found in /proc.
FIRST = 1 << 23


def process(number: int, parent: int, name: str) -> Process:
    return Process(FIRST + number, FIRST + parent, FIRST + number, 0, SOMEBODY, name)


@pytest.mark.parametrize(
    ("parents", "runs"),
    [
        ({1: 0, 2: 1, 3: 2}, True),
        ({1: 9, 2: 1, 3: 2}, True),
        ({2: 3, 3: 2}, False),
        ({2: 2, 3: 2}, False),
        ({2: 8, 3: 2}, False),
    ],
)
def test_below_a_session_or_not_even_where_the_table_goes_round(parents: dict[int, int], runs: bool) -> None:
    names = {1: "sshd", 2: "bash", 3: "train"}
    table = {FIRST + number: process(number, parent, names[number]) for number, parent in parents.items()}
    assert runs_over_ssh(table[FIRST + 3], table) is runs


NIGHT_S = 10 * 3600.0


def test_stillness_grows_from_the_last_use_on() -> None:
    still = Stillness(30.0, monotonic=1000.0, wall=50_000.0)
    assert still.lasts_s(math.inf, 1030.0, 50_030.0) == 60.0
    assert still.lasts_s(10.0, 1060.0, 50_060.0) == 10.0
    assert still.lasts_s(math.inf, 1090.0, 50_091.0) == 40.0, "the clock was set right by a second"


@pytest.mark.parametrize("monotonic_goes_on", [False, True])
def test_a_machine_that_was_resumed_begins_the_wait_anew(monotonic_goes_on: bool) -> None:
    still = Stillness(7200.0, monotonic=1000.0, wall=50_000.0)
    assert still.lasts_s(math.inf, 1030.0, 50_030.0) == 7230.0
    woken = 1060.0 + NIGHT_S * monotonic_goes_on
    assert still.lasts_s(math.inf, woken, 50_060.0 + NIGHT_S) == 0.0
    assert still.lasts_s(math.inf, woken + 30.0, 50_090.0 + NIGHT_S) == 30.0
