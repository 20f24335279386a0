"""The parts of ``scripts/bench tunnel`` that judge: what is read from tools, shown in the table, and held back."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from scripts.benchmarks import __main__ as bench
from scripts.benchmarks import table, tunnel, tunnel_link
from scripts.benchmarks.tunnel_candidates import OURS, SSH
from scripts.benchmarks.tunnel_link import Direction
from scripts.benchmarks.tunnel_loads import read_wrk
from scripts.benchmarks.tunnel_parts import GOALS, SAMPLES_FOR_P99, Goal
from scripts.benchmarks.tunnel_table import Rows

WRK = """\
Running 1s test @ http://127.0.0.1:80/
  Latency Distribution
     50%  {median}
     99%   10.53ms
Requests/sec:   7332.10
"""


@pytest.mark.parametrize(("median", "ms"), [("380.00us", 0.38), ("3.76ms", 3.76), ("1.20s", 1200)])
def test_what_wrk_says_is_read_in_milliseconds(median: str, ms: float) -> None:
    median_ms, rate = read_wrk(WRK.format(median=median))
    assert median_ms == pytest.approx(ms)
    assert rate == 7332.1


def test_words_of_wrk_without_figures_are_no_result() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        read_wrk("unable to connect to 127.0.0.1:80")


def test_the_table_has_medians_with_their_spread_and_the_ratio_of_ours() -> None:
    rows = Rows()
    for ours, other in ((10.0, 40.0), (20.0, 50.0), (90.0, 10.0)):
        rows.add(SSH, {"Speed": [other]})
        rows.add(OURS, {"Speed": [ours], "Only ours": [1.0]})
    assert rows.markdown().splitlines() == [
        f"|  | {OURS} | {SSH} |",
        "| --- | --- | --- |",
        "| Speed | 20 (10 to 90) | 40 (10 to 50) ×0.5 |",
        "| Only ours | 1 (1 to 1) | – |",
    ]


def test_a_percentile_of_too_few_samples_is_not_shown() -> None:
    rows = Rows()
    rows.add(OURS, {"Echo": [1.0] * (SAMPLES_FOR_P99 // 2)})
    rows.add(OURS, {"Echo": [3.0] * (SAMPLES_FOR_P99 // 2)})
    rows.add(SSH, {"Echo": [1.0] * (SAMPLES_FOR_P99 - 1)})
    assert rows.markdown().splitlines()[2:] == [
        "| Echo, p50 ms | 2 (1 to 3) | 1 (1 to 1) ×2 |",
        "| Echo, p99 ms | 2 (1 to 3) | – |",
    ]


def test_a_goal_is_met_or_missed_or_was_not_measured() -> None:
    rows = Rows()
    rows.add(OURS, {"Speed": [30.0], "Delay": [2.0], "Delay at rest": [1.0]})
    rows.add(SSH, {"Speed": [20.0]})
    goals = [
        Goal("Speed", SSH, 1.5, at_least=True),
        Goal("Speed", SSH, 1.4),
        Goal("Delay", "", 1.9, other="Delay at rest"),
        Goal("Not measured", SSH, 1.0),
    ]
    assert rows.verdicts(goals).splitlines() == [
        f"met    Speed: 1.5 × {SSH}, ≥ 1.5",
        f"MISSED Speed: 1.5 × {SSH}, ≤ 1.4",
        "MISSED Delay: 2 × Delay at rest, ≤ 1.9",
    ]
    assert rows.verdicts(GOALS) == ""


def test_a_link_holds_packets_back_in_order_and_no_faster_than_its_rate() -> None:
    reader, writer = os.pipe()
    try:
        way = Direction(writer)
        for number in range(3):
            way.put(bytes((number,)) * 12_500, now=5.0, delay_s=0.025)
        assert way.give(now=5.0) == pytest.approx(5.0251)
        assert way.give(now=5.02525) == pytest.approx(5.0253)
        assert os.read(reader, 1 << 20) == bytes(12_500) + b"\1" * 12_500
        assert way.give(now=6.0) == float("inf")
        assert os.read(reader, 1 << 20) == b"\2" * 12_500
    finally:
        os.close(reader)
        os.close(writer)


def test_what_does_not_fit_into_the_queue_of_a_link_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel_link, "QUEUE_BYTES", 1000)
    reader, writer = os.pipe()
    try:
        way = Direction(writer)
        for packet in (b"a" * 600, b"b" * 600, b"c" * 400):
            way.put(packet, now=0.0, delay_s=0.0)
        way.give(now=1.0)
        assert os.read(reader, 1 << 20) == b"a" * 600 + b"c" * 400
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(
    ("absent", "skipped", "packages", "left"),
    [
        ((), "", "", ["idle", "dead"]),
        (("iperf3", "ab"), "idle", "apache2-utils iperf3", ["dead"]),
        (("autossh",), "dead", "autossh", ["idle"]),
        (("ip", "wrk"), "idle, dead", "iproute2 wrk", []),
    ],
)
def test_a_part_whose_program_is_missing_is_skipped_and_its_package_is_named(
    absent: tuple[str, ...], skipped: str, packages: str, left: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(shutil, "which", lambda tool, path: None if tool in absent else f"/usr/bin/{tool}")
    assert tunnel.runnable_parts(["idle", "dead"]) == left
    printed = capsys.readouterr().err
    assert printed == (
        f"warning: skipping {skipped}: {', '.join(sorted(absent))} not found\nfix: apt-get install {packages}\n"
        if absent
        else ""
    )


def test_without_a_name_all_benchmarks_run_but_those_that_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = {"bridge": 0, "copy": 0, "iap": 0, "rest": 0, "tunnel": table.CANNOT_RUN, "up": 1, "zones": 0}
    monkeypatch.setattr(bench, "import_module", lambda name, package: _Benchmark(statuses[name.removeprefix(".")]))
    monkeypatch.setattr(sys, "argv", ["scripts/bench"])
    assert bench.main() == 1
    assert capsys.readouterr().err.endswith("Skipped: tunnel\n")


class _Benchmark:
    def __init__(self, status: int) -> None:
        self._status = status

    def main(self, arguments: list[str]) -> int:
        return self._status
