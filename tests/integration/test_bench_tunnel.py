"""``scripts/bench tunnel`` in its short form: all rows of Jupyter's are measured, and no figure is judged."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from scripts.benchmarks.jupyter_parts import GOALS
from tests.support.environment.world import REPOSITORY

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="a network of its own takes root on Linux"
)


def test_every_row_that_a_goal_judges_has_a_value_of_each_candidate() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", "tunnel", "--short"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {cells[1].strip(): cells[2:-1] for line in done.stdout.splitlines() if len(cells := line.split("|")) > 3}
    assert all(re.match(r" [\d.]+ \(", cell) for name, cells in rows.items() if ":" in name for cell in cells), rows
    judged = {row for goal in GOALS for row in (goal.row, goal.other) if row and "100 ms" not in row}
    assert judged <= rows.keys()
