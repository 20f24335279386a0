"""`status --watch`: its frames, and what its keys do."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from remote_runtime.cli.output import dashboard as screen_module
from remote_runtime.cli.output.dashboard import Dashboard, svg
from remote_runtime.cli.output.graphs import PLAIN_SIGNS, bar_graph, meter
from remote_runtime.cli.output.watch import Actions, Screen, Stop
from remote_runtime.core.metrics import DiskUsage, GpuLoad, KernelStatus, MachineLoad, Traffic
from remote_runtime.core.model import IdleWatchdog, Instance
from remote_runtime.core.price import HourlyPrice
from tests.support.clients.hostile_texts import HOSTILE
from tests.unit.cli.test_output import TOKEN, safe
from tests.unit.cli.test_status_table import GB, SERVER, ago, training

L4 = GpuLoad("NVIDIA L4", 22 * GB, 23 * GB, 0.37, 61.0)
LOAD = MachineLoad(20 * GB, 85 * GB, (L4,), cpu=0.5, disk=DiskUsage("/", 188 * GB, 200 * GB), kernel_memory={"k1": GB})
LOG = "2026-11-30 22:29:11,651 INFO remote_runtime.keeper.keeper: ready on local port 8888"


def looks(count: int, **changes: Any) -> list[list[dict[str, Any]]]:
    """One MB more a second is received; the latency swings."""
    kernels = (
        KernelStatus("k2", "python3", "", "idle", ago(minutes=61)),
        KernelStatus("k1", "python3", "work/train.ipynb", "busy", ago(minutes=1)),
    )
    facts: dict[str, Any] = {"load": LOAD, "kernel_list": kernels, "since": ago(hours=3, minutes=2), **changes}
    return [
        [training(traffic=Traffic(0, second << 20), rtt_ms=2.0 if second % 2 else 9.0, **facts)]
        for second in range(count)
    ]


def frame(dashboard: Dashboard, columns: int = 80, lines: int = 24) -> list[str]:
    """Without trailing spaces, and with dashes for the time of day."""
    written = io.StringIO()
    Console(file=written, width=columns, height=lines, force_terminal=True, color_system=None).print(dashboard)
    return [re.sub(r"\d\d:\d\d:\d\d$", "--:--:--", line.rstrip()) for line in written.getvalue().splitlines()]


def drawn(
    *looks: list[dict[str, Any]], columns: int = 80, lines: int = 24, log: str = LOG, **options: Any
) -> list[str]:
    dashboard = Dashboard(full_screen=True, **options)
    for second, found in enumerate(looks):
        dashboard.update(found, float(second), {each["name"]: log for each in found})
    return frame(dashboard, columns, lines)


def colours(*looks: list[dict[str, Any]]) -> str:
    dashboard = Dashboard(full_screen=True)
    for second, found in enumerate(looks):
        dashboard.update(found, float(second))
    written = io.StringIO()
    Console(file=written, width=80, height=24, force_terminal=True, color_system="standard").print(dashboard)
    return written.getvalue()


def test_what_the_vm_costs_is_among_its_facts() -> None:
    price = HourlyPrice(0.8697, "USD")
    facts = drawn(*looks(2, price=price, price_since=ago(hours=3)), columns=120)[2]
    assert facts == "my-dlvm (europe-west4-a) · VM up 3 h 2 min · NVIDIA L4 · $0.87/h, $2.61 so far · 3 reconnects"


def test_a_frame_of_24_lines_has_graphs_kernels_and_the_log() -> None:
    assert drawn(*looks(30)) == [
        "remote-runtime status                                                   --:--:--",
        "● training  ready  http://localhost:8888/  up 3 h 2 min",
        "my-dlvm (europe-west4-a) · VM up 3 h 2 min · NVIDIA L4 · 3 reconnects",
        "",
        "CPU                    50 %  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄       max 50 %",
        "disk !           188/200 GB  █████████████████████████████████░░  94 % full",
        "memory             20/85 GB  ▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂       max 24 %",
        "GPU              37 % 61 °C  ▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃       max 37 %",
        "GPU memory !       22/23 GB  ██████████████████████████████       max 96 %",
        "latency                2 ms  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁       max 9 ms",
        "received             1 MB/s   █████████████████████████████       max 1 MB/s",
        "sent                  0 B/s   ·····························       max 0 B/s",
        "",
        "KERNEL                                        STATE       IDLE          MEMORY",
        "work/train.ipynb (python3)                    busy                      1 GB",
        "python3                                       idle        1 h 1 min",
        "",
        "log  22:29:11 ready on local port 8888",
        *[""] * 5,
        "q quits · p pauses · o opens Colab · l shows the log · d stops · ? explains",
    ]


def test_a_tall_terminal_has_graphs_of_three_rows() -> None:
    lines = drawn(*looks(200), columns=140, lines=40)
    assert len(lines) == 40
    assert max(map(len, lines)) <= 140
    top = next(number for number, line in enumerate(lines) if line.startswith("CPU"))
    assert [line.strip() for line in lines[top : top + 3]] == [
        f"CPU                    50 %{' ' * 99}max 50 %",
        "▄" * 95,
        "█" * 95,
    ]
    assert sum(line.startswith("disk") or "░" in line for line in lines) == 1, "what has no history stays one row"


@pytest.mark.parametrize("height", [4, 6, 12, 24, 40])
@pytest.mark.parametrize("count", [1, 4])
def test_a_frame_fills_the_screen_and_never_leaves_it(height: int, count: int) -> None:
    found = [each for number in range(count) for each in looks(1, name=f"r{number}")[0]]
    lines = drawn(*[found] * 3, lines=height)
    assert len(lines) == height
    assert lines[1].startswith("▸ ● r0  ready" if count > 1 else "● r0  ready")
    assert lines[-1].startswith("q quits")
    assert lines[-1].endswith("? explains")
    if height > 10:
        assert sum(" ready  http" in line for line in lines) == count


def test_a_runtime_that_is_down_leaves_its_lines_to_the_others() -> None:
    (down,) = looks(1, name="old", state="down", why="it was stopped")[0]
    lines = drawn([down, *looks(1)[0]])
    assert lines[1:4] == ["▸ ● old  down", "  it was stopped", ""]
    assert any(line.startswith("sent") for line in lines)


def test_figures_of_a_runtime_that_reconnects_are_dim_and_dated() -> None:
    lost = looks(1, state="reconnecting", why="the network is gone", seen=ago(seconds=125))
    lines = drawn(*looks(3), *lost)
    assert lines[1].startswith("● training  reconnecting  last seen 2 min ")
    assert lines[2] == "  the network is gone"
    assert re.search(r"latency +9 ms +▁▁▁ +max 9 ms", "\n".join(lines))
    measured = MachineLoad(20 * GB, 85 * GB, seen=ago(seconds=245))
    (hung,) = looks(1, state="unreachable", why="Jupyter hangs", load=measured)
    assert drawn(hung)[1].startswith("● training  unreachable  last seen 4 min ")
    shown = colours(*looks(3), *lost)
    assert "\x1b[31m" not in shown
    assert re.search(r"\x1b\[2m *188/200 GB", shown)


def test_what_is_nearly_full_is_yellow_or_red_and_marked() -> None:
    def row(used: int, name: str = "disk") -> str:
        load = MachineLoad(1, 2, cpu=0.0, disk=DiskUsage("/", used, 100))
        shown = colours(*looks(1, load=load))
        return next(line for line in shown.splitlines() if name in line)

    assert "\x1b[1;31m" in row(91)
    assert "disk !" in row(91)
    assert "\x1b[33m" in row(76)
    assert "disk !" not in row(76)
    assert not re.search(r"\x1b\[(1;31|33)m", row(75))


def test_an_unknown_value_is_a_gap_and_a_new_count_is_no_rate() -> None:
    lost = [training(state="reconnecting", why="it is gone", load=None, traffic=Traffic(0, 4 << 20))]
    row = next(line for line in drawn(*looks(3), lost, *looks(2)) if line.startswith("received"))
    assert row.split("/s")[1].split("max")[0].rstrip() == "   ▄▄█ ▄"


def test_what_is_wrong_is_shown_and_what_is_unknown_is_no_zero() -> None:
    guard = IdleWatchdog(3600.0, "stop-instance", "service-account", "stop", failed="Compute Engine refused: policy")
    assert "Compute Engine refused: policy" in "".join(
        drawn([training(server=replace(SERVER, idle=guard))], columns=200)
    )
    shared = GpuLoad("NVIDIA GB10", None, None, 0.87)
    lines = drawn([training(load=MachineLoad(1, 2, (shared,)))])
    assert any(line.startswith("GPU memory                –") for line in lines)
    assert not any(line.startswith(("CPU", "disk")) for line in lines)


def test_bars_are_as_high_as_their_share_of_the_scale() -> None:
    assert bar_graph([0.0, 0.004, 0.01, 0.5, 1.0, None], 1.0) == ["··▁▄█ "]
    assert bar_graph([0.0, 0.25, 0.75, 1.0, None], 1.0, rows=2) == ["  ▄█ ", "·▄██ "]
    assert bar_graph([0.0, 1.0], 1.0, signs=PLAIN_SIGNS) == [" @"]
    assert bar_graph([], 1.0) == [""]
    assert meter(0.26, 10) == ("███", "░" * 7)
    assert meter(1.2, 4) == ("████", "")


def test_more_kernels_than_fit_are_counted() -> None:
    many = tuple(KernelStatus(f"k{number}", "python3", "", "idle", ago(minutes=number)) for number in range(9))
    lines = drawn(*looks(2, kernel_list=many), lines=20)
    assert any(line.startswith("KERNEL (4 of 9)") for line in lines)


def test_a_frame_can_be_kept_as_svg_without_the_token() -> None:
    dashboard = Dashboard()
    for second, found in enumerate(looks(30)):
        dashboard.update(found, float(second))
    picture = svg(dashboard, columns=80, title="remote-runtime status --watch")
    assert picture.startswith("<svg")
    text = re.sub("<[^>]*>", "", picture).replace("&#160;", " ")
    for words in ("training", "ready", "remote-runtime status --watch", "q quits", "GPU memory"):
        assert words in text
    assert TOKEN not in picture


def test_hostile_names_are_harmless() -> None:
    gpu = GpuLoad(HOSTILE, 1, 2, 0.5)
    kernels = (KernelStatus("k", HOSTILE, HOSTILE, "idle", ""),)
    instance = Instance("gce", HOSTILE, zone=HOSTILE)
    evil = training(name=HOSTILE, why=HOSTILE, instance=instance, load=MachineLoad(1, 2, (gpu,)), kernel_list=kernels)
    assert safe("\n".join(drawn([evil], columns=300, log=HOSTILE)))


# ── keys ──


class Acted:
    def __init__(self) -> None:
        self.opened: list[str] = []

    def open_page(self, name: str) -> str:
        self.opened.append(name)
        return "Opened Colab"

    @staticmethod
    def read_log(name: str, lines: int) -> Sequence[str]:
        return [f"{name} {number}" for number in range(100)][-lines:]


def screen(*names: str) -> tuple[Screen, Acted]:
    acted, dashboard = Acted(), Dashboard(full_screen=True)
    dashboard.update([training(name=name) for name in names], 0.0)
    return Screen(dashboard, Actions(acted.open_page, acted.read_log, lambda name, stop_busy: True)), acted


@pytest.mark.parametrize("key", ["q", "Q", "\x1b", "\x04"])
def test_q_quits_at_once(key: str) -> None:
    at, _ = screen("work")
    assert at.handle(key)
    assert at.take_confirmed() is None


def test_p_pauses_and_goes_on() -> None:
    at, _ = screen("work")
    at.handle("p")
    assert "remote-runtime status  paused" in frame(at.dashboard)[0]
    at.handle("p")
    assert "paused" not in frame(at.dashboard)[0]


def test_help_is_shown_until_the_next_key() -> None:
    at, _ = screen("work")
    at.handle("?")
    assert frame(at.dashboard)[1:8] == [f"  {key:<10}{text}" for key, text in screen_module.HELP]
    assert not at.handle("q")
    assert frame(at.dashboard)[1].startswith("● work")


def test_the_log_scrolls_and_q_returns() -> None:
    at, _ = screen("work")
    at.handle("l")
    assert frame(at.dashboard)[0].startswith("remote-runtime status · log of work")
    assert frame(at.dashboard)[1:23] == [f"work {number}" for number in range(78, 100)]
    at.handle("up")
    assert frame(at.dashboard)[22] == "work 98"
    at.handle("home")
    assert frame(at.dashboard)[1] == "work 0"
    at.handle("end")
    assert frame(at.dashboard)[22] == "work 99"
    assert not at.handle("q")
    assert frame(at.dashboard)[1].startswith("● work")


def test_keys_act_on_the_selected_runtime() -> None:
    at, acted = screen("one", "two")
    at.handle("o")
    at.handle("\t")
    at.handle("o")
    assert acted.opened == ["one", "two"]
    assert frame(at.dashboard)[-1] == "Opened Colab"
    at.handle("x")
    assert frame(at.dashboard)[-1].startswith("q quits")


def test_d_stops_only_after_yes() -> None:
    at, _ = screen("work")
    at.handle("d")
    assert frame(at.dashboard)[-1] == "Stop work? [y/N]"
    assert not at.handle("q"), "any other key is no"
    assert not at.handle("y"), "the question is gone"
    at.handle("d")
    assert at.handle("y")
    assert at.take_confirmed() == Stop("work", is_busy=False)
    assert at.take_confirmed() is None


def test_the_question_names_busy_kernels_so_that_down_does_not_ask_again() -> None:
    at, _ = screen("work")
    (busy,) = looks(1)
    at.dashboard.update(busy, 1.0)
    at.handle("d")
    assert " ".join(frame(at.dashboard)[-2:]).strip() == (
        "Stop training? Busy kernels will end: work/train.ipynb (python3). [y/N]"
    )
    assert at.handle("y")
    assert at.take_confirmed() == Stop("training", is_busy=True)


def test_a_long_message_is_not_cut() -> None:
    at, _ = screen("work")
    at.dashboard.message = "Can't open a browser: no desktop runs in this session " * 3
    assert " ".join(frame(at.dashboard)[-3:]) == at.dashboard.message.strip()
    assert len(frame(at.dashboard)) == 24
