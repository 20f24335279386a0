"""What the tunnel survives, against a real sshd, a real Jupyter and a kernel with a variable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.link_faults import (
    INTERVALS,
    KEEPALIVE_S,
    Row,
    Survivor,
    faults_of_the_link,
    faults_of_the_machine,
    port_taken_meanwhile,
)
from tests.support.machines.gce_vm import CloudMachine, cloud_machine

# What a computer that does other things too may take longer than the keeper plans.
LOADED_S = 5.0
LONGEST_PAUSE_S = 30.0


@pytest.fixture
def vm(world: World) -> Iterator[CloudMachine]:
    with cloud_machine(world) as machine:
        yield machine


@pytest.fixture
def survivor(world: World, vm: CloudMachine) -> Survivor:
    return Survivor(world, vm)


def problem(row: Row, *, keeps: bool, noticed_s: float | None, working_s: float) -> str:
    """What is wrong with a row, with the row; empty if nothing is. Connections live as long as the kernel."""
    wrong = []
    if row.connections is None or row.connections.kept is not keeps:
        wrong.append("the connections were not kept" if keeps else "connections outlived their server")
    if row.kept is not keeps:
        wrong.append(f"the variable was {'kept' if row.kept else 'lost'}")
    if noticed_s is not None and row.noticed_s is not None and row.noticed_s > noticed_s:
        wrong.append("noticed late")
    if row.working_s > working_s:
        wrong.append("the URL worked late")
    return f"{row}: {', '.join(wrong)}" if wrong else ""


def test_faults_of_the_link_cost_no_kernel(survivor: Survivor) -> None:
    noticed_s, working_s = INTERVALS * KEEPALIVE_S + LOADED_S, INTERVALS * KEEPALIVE_S + 2 * LOADED_S
    rows = [fault() for fault in faults_of_the_link(survivor)]
    assert not [text for row in rows if (text := problem(row, keeps=True, noticed_s=noticed_s, working_s=working_s))]
    log = survivor.world.log("vm")
    assert "this computer was suspended for" in log
    assert "no response from the machine for" in log
    assert survivor.world.look("vm")["last_outage"]["why"]


def test_faults_of_the_machine_and_of_jupyter_end_by_themselves(survivor: Survivor) -> None:
    url = survivor.page.url
    *others, killed, restarted = faults_of_the_machine(survivor, gone_s=3.0)
    rows = [(fault(), True) for fault in others] + [(killed(), False)]
    survivor.set_variable()
    rows.append((restarted(), False))  # a machine that restarts has other kernels
    assert len(rows) == 5
    problems = [problem(row, keeps=keeps, noticed_s=None, working_s=LONGEST_PAUSE_S) for row, keeps in rows]
    assert not list(filter(None, problems))
    assert survivor.world.run("url", "vm").out.strip() == url
    assert survivor.world.file("vm")["instance"]["address"] == "127.0.0.2"


def test_a_disk_that_is_full_here_does_not_keep_a_machine_from_being_followed(world: World, survivor: Survivor) -> None:
    no_room = world.state / f"vm.json.{world.keeper('vm').pid}.tmp"
    no_room.mkdir()
    survivor.instance.nat_ip = "127.0.0.2"
    survivor.server.kill()
    survivor.vm.sshd.move("127.0.0.2")
    eventually(survivor.works, within_s=60)
    assert "can't save the state" in world.log("vm")
    assert world.file("vm")["instance"]["address"] == "127.0.0.1", "no change was written down"
    no_room.rmdir()
    eventually(lambda: world.file("vm")["instance"]["address"] == "127.0.0.2" and world.file("vm")["state"] == "ready")


def test_a_jupyter_that_does_not_answer_is_told_with_what_to_do(world: World, survivor: Survivor) -> None:
    server, reconnects = survivor.server, world.file("vm")["reconnects"]
    server.suspend()
    try:
        told = eventually(lambda: (seen := world.look("vm"))["last_error"] and seen, within_s=60)
    finally:
        server.resume()
    assert told["state"] == "unreachable"
    assert told["last_error"]["code"] == "jupyter-stuck"
    assert "remote-runtime down" in told["last_error"]["hint"]
    eventually(lambda: world.look("vm")["state"] == "ready", within_s=60)
    assert world.file("vm")["reconnects"] == reconnects, "the link was kept"
    assert survivor.page.run(survivor.kernel, "print(kept)") == "42"


def test_a_port_that_was_taken_while_the_keeper_was_dead_is_replaced_and_told(survivor: Survivor) -> None:
    assert port_taken_meanwhile(survivor).kept
