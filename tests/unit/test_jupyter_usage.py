"""Whose work on the machine counts as a use: what the watchdog concludes from the process table."""

from __future__ import annotations

import os

import pytest

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
