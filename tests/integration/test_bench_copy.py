"""``scripts/bench copy`` in its short form: each row has a value of each candidate, and no figure is judged."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support.environment.world import REPOSITORY

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="a network of its own takes root on Linux"
)


def test_each_row_has_a_value_of_each_candidate() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", "copy", "--short"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^\| ((?:up|down)load .*), beside scp +\| [\d.]+ \(.* \| [\d.]+ \(", done.stdout, re.MULTILINE)
    assert len(rows) == 3
    beside = re.findall(r"^(.*), (.*): [\d.]+ \(.* cp has [\d.]+ of that$", done.stdout, re.MULTILINE)
    assert beside == [(row, candidate) for candidate in ("cp alone", "rsync") for row in rows]
