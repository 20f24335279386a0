"""``scripts/bench zones``, one short round: each row of its table is there, and no figure is judged."""

from __future__ import annotations

import pytest

from scripts.benchmarks import zones


def test_the_table_has_a_row_for_each_count_of_exhausted_zones(capsys: pytest.CaptureFixture[str]) -> None:
    assert zones.main(["--rounds=1", "--answer=0.02"]) in (0, 1)
    rows = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [int(count) for count, _ in rows] == [0, 2, 5]
    assert all(float(taken.split()[0]) > 0 for _, taken in rows)
