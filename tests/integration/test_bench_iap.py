"""``scripts/bench iap``, small and without gcloud: what it measures is measured, and no figure is judged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.environment.world import REPOSITORY

SMALL = ("--whole-megabytes=4", "--faults=10", "--megabytes=1", "--rounds=1", "--silent=0.5")


def test_bytes_stay_whole_through_faults_and_every_row_is_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", "iap", *SMALL],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": str(tmp_path)},  # where no gcloud is
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every byte whole" in done.stdout
    assert "ours, after a clean end of TCP: all bytes came" in done.stdout
    rows = [line.split("|")[1:4] for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert [name.strip() for name, _, _ in rows] == ["down, MB/s", "up, MB/s", "resume gap, s"]
    assert all(ours.strip() and other.strip() == "–" for _, ours, other in rows)
