"""What the idle watchdog concludes: from the process table, and from the clocks."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import pytest

from remote_runtime.jupyter.remote import idle_shells
from remote_runtime.jupyter.remote.activity import LAUNCHER_MARK, ProcessStat, runs_over_ssh
from remote_runtime.jupyter.remote.idle_watchdog import MAX_CHECK_GAP_S, IdleTimer, check_interval_s
from remote_runtime.launcher import call

SOMEBODY = os.geteuid() + 1
# Above the highest pid that Linux gives, so that nothing is found in /proc.
FIRST = 1 << 23


def process(number: int, parent: int, name: str) -> ProcessStat:
    return ProcessStat(FIRST + number, FIRST + parent, FIRST + number, 0, SOMEBODY, name)


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


@pytest.mark.parametrize(
    "words",
    [
        call.direct_command("python3", "r"),
        call.search_command(("python3",), "r", "m"),
    ],
)
def test_the_launcher_is_known_by_its_command_line(words: Sequence[str]) -> None:
    assert LAUNCHER_MARK in " ".join(words)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("bash", "-bash"), ("bash", "bash"), ("bash", "/bin/bash --init-file /x/shellIntegration-bash.sh"),
        ("bash", "bash --rcfile /tmp/rc -i"), ("sh", "sh -i"), ("sh", "/bin/sh -o vi"), ("zsh", "/usr/bin/zsh -il"),
        ("fish", "fish -C conda"), ("tcsh", "-csh"), ("xonsh", "/usr/bin/python3 /usr/local/bin/xonsh"),
        ("busybox", "busybox ash"), ("tmux: client", "tmux attach"), ("sudo", "sudo -i"),
    ],
)  # fmt: skip
def test_a_shell_that_reads_commands_waits(name: str, line: str) -> None:
    assert idle_shells.is_waiting(name, [*line.split(), ""], has_children=True)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("python3", "python3 train.py"), ("bash", "bash train.sh"), ("bash", "/bin/bash -lc train"),
        ("bash", "bash -C train.sh"), ("zsh", "zsh -ic train"), ("fish", "fish -C conda train.fish"),
        ("train.sh", "/bin/bash ./train.sh"), ("xonsh", "/usr/bin/python3 /usr/local/bin/xonsh train.xsh"),
        ("busybox", "busybox sh train.sh"), ("tmuxinator", "tmuxinator"), ("vim", "vim"),
    ],
)  # fmt: skip
def test_a_shell_that_was_given_something_to_do_is_at_work(name: str, line: str) -> None:
    assert not idle_shells.is_waiting(name, [*line.split(), ""], has_children=True)


def test_a_wrapper_of_which_no_child_is_seen_is_at_work() -> None:
    assert not idle_shells.is_waiting("sudo", ["sudo", "train"], has_children=False)


NIGHT_S = 10 * 3600.0


def test_stillness_grows_from_the_last_use_on() -> None:
    still = IdleTimer(30.0, monotonic=1000.0, wall=50_000.0)
    assert still.idle_s(math.inf, 1030.0, 50_030.0) == 60.0
    assert still.idle_s(10.0, 1060.0, 50_060.0) == 10.0
    assert still.idle_s(math.inf, 1090.0, 50_091.0) == 40.0, "the clock was set right by a second"


@pytest.mark.parametrize("monotonic_goes_on", [False, True])
def test_a_machine_that_was_resumed_begins_the_wait_anew(monotonic_goes_on: bool) -> None:
    still = IdleTimer(7200.0, monotonic=1000.0, wall=50_000.0)
    assert still.idle_s(math.inf, 1030.0, 50_030.0) == 7230.0
    woken = 1060.0 + NIGHT_S * monotonic_goes_on
    assert still.idle_s(math.inf, woken, 50_060.0 + NIGHT_S) == 0.0
    assert still.idle_s(math.inf, woken + 30.0, 50_090.0 + NIGHT_S) == 30.0


@pytest.mark.parametrize("after_s", [0.1, 60.0, 600.0, 3599.0, 3600.0, 7200.0, 86_400.0])
def test_the_pause_between_checks_is_a_small_part_of_the_rule_and_counts_as_no_suspension(after_s: float) -> None:
    pause_s = check_interval_s(after_s)
    assert pause_s <= max(0.5, after_s / 4)
    assert pause_s <= MAX_CHECK_GAP_S / 3
    assert (pause_s == 60.0) is (after_s >= 3600), "a watchdog wakes an idle machine seldom"
