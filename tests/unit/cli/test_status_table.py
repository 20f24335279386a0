"""`status` as a table and as a picture: what fits, what is told below, and what the graphs show."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from remote_runtime.cli.output import format
from remote_runtime.cli.output.status_table import status_table
from remote_runtime.core.metrics import Connections, GpuLoad, MachineLoad
from remote_runtime.core.model import Forward, IdleWatchdog, Instance, Secret, Server
from remote_runtime.core.price import HourlyPrice
from tests.support.clients.hostile_texts import HOSTILE
from tests.unit.cli.test_output import TOKEN, on_a_terminal, runtime, safe

GB = 1 << 30
SERVER = Server(4242, 77, Secret("ab" * 24), "/srv", True, "2.14.0", "0.1.0", "3.12.3", "/usr/bin/python3")
A100 = GpuLoad("NVIDIA A100-SXM4-40GB", 12 * GB, 40 * GB, 0.43)


def ago(**time: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(**time)).isoformat(timespec="seconds")


def training(**changes: Any) -> dict[str, Any]:
    instance = Instance("gce", "my-dlvm", zone="europe-west4-a", project="p", running_since=ago(hours=3, minutes=2))
    facts = {
        "name": "training",
        "instance": instance,
        "since": ago(minutes=12),
        "busy_kernels": 1,
        "load": MachineLoad(20 * GB, 85 * GB, (A100,)),
        "rtt_ms": 43.6,
        "reconnects": 3,
    }
    return runtime(**{**facts, **changes})


def test_a_wide_terminal_has_everything_in_the_table() -> None:
    head, row = status_table([training()], 200).splitlines()
    assert re.split("  +", head) == [
        "NAME", "STATE", "URL", "MACHINE", "VM UPTIME", "GPU", "MEMORY", "KERNELS", "LATENCY",
        "RECONNECTS", "UPTIME",
    ]  # fmt: skip
    assert re.split("  +", row) == [
        "training", "● ready", "http://localhost:8888/", "my-dlvm (europe-west4-a), NVIDIA A100-SXM4-40GB",
        "3 h 2 min", "43 % 12/40 GB", "20/85 GB", "2, 1 busy", "44 ms", "3", "12 min 0 s",
    ]  # fmt: skip


def test_what_a_vm_costs_is_a_column_or_a_note() -> None:
    priced = training(price=HourlyPrice(0.8697, "USD"), price_since=ago(hours=3))
    head, row = status_table([priced], 230).splitlines()
    assert "COST" in head
    assert "  $0.87/h, $2.61 so far  " in row
    assert "cost $0.87/h, $2.61 so far" in status_table([priced], 100).replace("\n   ", "")
    assert "COST" not in status_table([training()], 230)
    unknown_since = training(price=HourlyPrice(0.05, "USD", provisioning="spot"))
    assert "$0.050/h" in status_table([unknown_since], 230)
    down = training(state="down", price=HourlyPrice(0.87, "USD"), price_since=ago(hours=3))
    assert down["price"]["estimate"] is None
    assert "$" not in status_table([down], 230)


def test_extra_ports_and_where_names_were_found_are_told_below_the_table() -> None:
    instance = Instance(
        "gce", "my-dlvm", zone="us-a1-b", project="lab", project_from="the profile", zone_from="CLOUDSDK_COMPUTE_ZONE",
        credentials_from="gcloud's login of a@b.c",
    )  # fmt: skip
    forwards = (Forward(8888, "127.0.0.1:1"), Forward(6006, "127.0.0.1:6006"))
    told = status_table([training(instance=instance, forwards=forwards)], 0)
    assert "zone us-a1-b from CLOUDSDK_COMPUTE_ZONE · credentials from gcloud's login of a@b.c" in told
    assert "project lab" not in told, "the profile says it"
    assert "without a token" in told
    assert "http://localhost:6006 → 127.0.0.1:6006" in told
    assert "8888 →" not in told


@pytest.mark.parametrize(("kind", "stop"), [("gce", True), ("ssh", False)])
def test_an_idle_action_that_failed_is_told_below_the_table(kind: str, stop: bool) -> None:
    guard = IdleWatchdog(3600.0, "stop-instance", "service-account", "stop", failed="Compute Engine refused: policy")
    facts: dict[str, Any] = {"server": replace(SERVER, idle=guard), "target": {"kind": kind}}
    told = status_table([training(**facts)], 0)
    assert "Compute Engine refused: policy" in told
    assert "keeps running" in told
    assert ("remote-runtime down training --stop-instance" in told) == stop
    assert training(**facts)["server"]["idle"]["failed"] == "Compute Engine refused: policy"
    assert "refused" not in status_table([training(**facts, state="down")], 0)
    whole = replace(guard, failed="")
    assert "keeps running" not in status_table([training(**{**facts, "server": replace(SERVER, idle=whole)})], 0)


def test_a_runtime_that_is_down_has_no_figures_and_a_demo_no_origin_of_its_names() -> None:
    instance = Instance("demo", "demo-vm", zone="us-a1-b", credentials_from="no credentials")
    down = status_table([training(state="down", instance=None, rtt_ms=None)], 0)
    assert down.splitlines()[0].split() == ["NAME", "STATE", "MACHINE"]
    assert "from" not in status_table([training(instance=instance, target={"kind": "demo"})], 0)


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_what_does_not_fit_is_told_below_the_table(columns: int) -> None:
    text = status_table([training(), training(name="other", load=None, reconnects=0)], columns)
    assert max(map(len, text.splitlines())) <= columns
    flat = " ".join(text.split())
    for fact in (
        "2, 1 busy",
        "44 ms",
        "12 min 0 s",
        "43 % 12/40 GB",
        "my-dlvm (europe-west4-a)",
        "3 h 2 min",
        "20/85 GB",
    ):
        assert fact in flat, fact
    assert "0 reconnects" not in flat
    assert not any(line.lstrip().startswith(("GB", "min", "ms")) for line in text.splitlines()), "figures are whole"
    assert TOKEN not in text


def test_a_long_reason_is_wrapped_and_a_path_in_it_is_whole() -> None:
    path = "/home/somebody/a-rather-long-folder-name/and-another-one/profiles/work-on-the-big-machine.yaml"
    lines = status_table([training(state="unreachable", why=f"the profile {path} has mistakes")], 80).splitlines()
    assert any(path in line for line in lines)
    assert all(len(line) <= 80 for line in lines if path not in line)


def test_several_gpus_are_one_figure_and_no_gpu_is_no_column() -> None:
    many = MachineLoad(1, 2, (A100, GpuLoad("NVIDIA L4", 0, 24 * GB, 0.0)))
    assert "2× 22 % 12/64 GB" in status_table([training(load=many)], 200)
    assert "GPU" not in status_table([training(load=MachineLoad(1, 2))], 200)


def test_what_a_gpu_does_not_tell_is_a_dash_and_no_zero() -> None:
    """In MIG mode it has no utilisation; one that shares the machine's memory has none of its own."""
    mig = GpuLoad("NVIDIA A100", 9 * GB, 40 * GB, None)
    sharing = GpuLoad("NVIDIA GB10", None, None, 0.87)
    for gpus, told in (((mig,), "– 9/40 GB"), ((sharing,), "87 % –"), ((mig, sharing), "2× 87 % 9/40 GB")):
        seen = training(load=MachineLoad(1, 2, gpus))
        assert told in status_table([seen], 200)


def test_a_vm_that_is_stopped_is_said_to_be() -> None:
    told = status_table(
        [training(instance=Instance("gce", "x", status="TERMINATED"), state="down", seen="2026-01-01T00:00:00+00:00")],
        200,
    )
    assert re.search(r"^  x was terminated \d+ d \d+ h ago$", told, re.MULTILINE), "it is not looked at now"


def test_figures_from_before_are_dated_and_dimmed_and_the_reconnect_under_way_is_counted() -> None:
    lost = training(state="reconnecting", seen=ago(seconds=40), why="the connection was reset")
    head, row, _, *notes = status_table([lost], 200).splitlines()
    cells = dict(zip(re.split("  +", head), re.split("  +", row), strict=True))
    assert (cells["STATE"], cells["LATENCY"], cells["MEMORY"]) == ("● reconnecting", "44 ms", "20/85 GB")
    assert cells["RECONNECTS"] == "4 (trying)"
    assert re.fullmatch(r"  figures from 4\d s ago, when my-dlvm was running", notes[0])
    assert notes[1] == "  the connection was reset"
    code = (
        "from tests.unit.cli.test_status_table import *\n"
        "print(status_table([training(state='reconnecting', seen=ago(seconds=40))], 200))"
    )
    shown = on_a_terminal(code, COLUMNS="80")
    assert "\x1b[2m44 ms\x1b[0m" in shown
    assert "\x1b[33m● reconnecting\x1b[0m" in shown
    assert "\x1b[2m" not in on_a_terminal(code.replace("reconnecting", "ready"), COLUMNS="80")


def test_figures_of_which_the_time_is_not_known_are_not_shown() -> None:
    told = status_table([training(state="unreachable", seen="")], 200)
    assert not {"GPU", "MEMORY", "KERNELS", "LATENCY", "VM"} & set(told.split("\n")[0].split())


def test_a_machine_is_not_named_twice() -> None:
    alone = status_table([training(name="my-dlvm")], 80)
    assert "\n  europe-west4-a, NVIDIA A100" in alone
    both = status_table([training(name="my-dlvm"), training()], 80)
    assert "\nmy-dlvm: europe-west4-a" in both
    assert "\ntraining: my-dlvm (europe-west4-a)" in both


@pytest.mark.parametrize(("carried", "empty", "waiting", "told"), [(0, 0, 1, True), (1, 2, 0, True), (5, 1, 1, False)])
def test_a_silent_browser_is_told_unless_others_speak(carried: int, empty: int, waiting: int, told: bool) -> None:
    came = training(connections=Connections(carried, empty, waiting), page_requests=0)
    assert ("allow" in status_table([came], 200)) == told


def test_connections_that_were_not_served_are_told_with_their_cause() -> None:
    came = training(connections=Connections(carried=9, tls=1, sent_away=3, without_a_file=4))
    told = " ".join(status_table([came], 0).split())
    assert "open http://, not https://" in told
    assert "4 connections" in told
    assert "ulimit -n" in told
    assert "3 connections" in told
    assert "https" not in status_table([training(connections=Connections(carried=9))], 0)
    assert "https" not in status_table([{**came, "state": "down"}], 0)


def test_states_have_colours_on_a_terminal_only_where_they_are_wanted() -> None:
    code = (
        "from tests.unit.cli.test_status_table import *\n"
        "print(status_table([training(), training(state='unreachable')]))"
    )
    shown = on_a_terminal(code, COLUMNS="80")
    assert "\x1b[32m● ready" in shown
    assert "\x1b[1;31m● unreachable" in shown
    assert "\x1b" not in on_a_terminal(code, NO_COLOR="1")


def test_hostile_names_are_harmless_in_the_table() -> None:
    gpu = GpuLoad(HOSTILE, 1, 2, 0.5)
    evil = training(
        name=HOSTILE, why=HOSTILE, instance=Instance("gce", HOSTILE, zone=HOSTILE), load=MachineLoad(1, 2, (gpu,))
    )
    assert safe(status_table([evil], 80))


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1, "1 B"), (1536, "1.5 kB"), (10 << 20, "10 MB"), (5 << 40, "5 TB")]
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert format.size(count) == text
