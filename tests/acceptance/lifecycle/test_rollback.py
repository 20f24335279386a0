"""What one command leaves is another's to settle: nothing that we started is forgotten, nothing else is touched."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from remote_runtime.demo.gcp_api.values import Vm
from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually, free_port
from tests.support.environment.world import World
from tests.support.machines.gce_vm import PROJECT, ZONE, CloudMachine, cloud_machine

SHORT = "timeouts: {instance: 20s, ssh: 15s, jupyter: 30s, ready: 20s}\n"


@pytest.fixture
def vm(world: World) -> Iterator[CloudMachine]:
    with cloud_machine(world, extra=SHORT) as machine:
        yield machine


def knows_the_vm_runs(world: World) -> bool:
    if not (world.state / "vm.json").exists():
        return False
    return bool((world.file("vm")["instance"] or {}).get("status") == "RUNNING")


def kill_keeper_with_the_vm_started(world: World, vm: CloudMachine) -> None:
    vm.sshd.refuse()
    command = world.start("up", "vm")
    eventually(lambda: vm.status == "RUNNING" and knows_the_vm_runs(world))
    world.keeper("vm").kill()
    command.communicate(timeout=30)
    vm.sshd.resume()


def test_an_undo_that_fails_is_told_by_the_up_that_was_interrupted(world: World, vm: CloudMachine) -> None:
    vm.sshd.refuse()
    command = world.start("up", "vm", "--json")
    eventually(lambda: vm.status == "RUNNING" and knows_the_vm_runs(world))
    vm.emulator.forbidden_permissions.add("compute.instances.stop")
    command.send_signal(signal.SIGINT)
    out, _ = command.communicate(timeout=60)

    error = json.loads(out)["error"]
    assert error["code"] == "interrupted"
    assert "putting my-vm back" in error["remains"][0]
    assert error["why"] == ""
    assert vm.status == "RUNNING"
    assert world.look("vm")["state"] == "down"

    vm.emulator.forbidden_permissions.clear()
    assert world.run("down", "vm").code == 0
    eventually(lambda: vm.status in ("STOPPING", "TERMINATED"))


def test_an_up_that_fails_early_settles_what_a_dead_keeper_owed(world: World, vm: CloudMachine) -> None:
    kill_keeper_with_the_vm_started(world, vm)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = world.run("up", "vm", "--port", str(taken.getsockname()[1]), "--json")

    assert done.error["code"] == "port-in-use"
    eventually(lambda: vm.status in ("STOPPING", "TERMINATED"), what="the VM that was started is put back")
    assert not (world.state / "vm.json").exists()


def test_a_vm_that_was_not_ours_is_never_put_back(world: World, vm: CloudMachine) -> None:
    keys = dict(line.split() for line in vm.sshd.host_keys)
    other = Vm("other-vm", zone=ZONE, project=PROJECT, status="RUNNING", address="127.0.0.1", host_keys=keys)
    vm.emulator.cloud.add(other)
    kill_keeper_with_the_vm_started(world, vm)
    path = world.profiles / "vm.yaml"
    path.write_text(path.read_text().replace("instance: my-vm", "instance: other-vm"))

    done = world.run("up", "vm", "--json")

    assert done.error["code"] == "busy"
    assert vm.emulator.cloud.instance(PROJECT, ZONE, "other-vm").status == "RUNNING"
    assert world.run("down", "vm").code == 0
    eventually(lambda: vm.status in ("STOPPING", "TERMINATED"))
    assert vm.emulator.cloud.instance(PROJECT, ZONE, "other-vm").status == "RUNNING"


def test_down_during_up_does_what_it_was_asked_for(world: World) -> None:
    with cloud_machine(world, status="RUNNING", extra=SHORT) as vm:
        vm.sshd.refuse(hang_up=True)
        command = world.start("up", "vm", "--json")
        eventually(lambda: knows_the_vm_runs(world))

        down = world.run("down", "vm", "--stop-instance", "--json")
        command.communicate(timeout=30)

        assert down.document["stopped"][0]["instance"] == "stopped"
        assert vm.status == "TERMINATED"


def test_down_during_an_up_that_mends_stops_the_server_of_before(world: World, vm: CloudMachine) -> None:
    Page(world.up("vm")).start_kernel()
    world.keeper("vm").kill()
    vm.sshd.refuse(hang_up=True)
    command = world.start("up", "vm", "--json")
    eventually(lambda: world.file("vm")["keeper_pid"] and world.look("vm")["state"] == "starting")
    down = world.start("down", "vm", "--json")
    eventually(lambda: command.poll() is not None)
    vm.sshd.resume()
    out, _ = down.communicate(timeout=60)

    assert json.loads(out)["stopped"][0]["server"] == "stopped"
    assert [line for line in world.running() if "boot.py" in line] == []


@pytest.mark.parametrize("damage", ["gone", "broken", "another machine"])
def test_down_needs_no_profile_file_of_today(world: World, vm: CloudMachine, damage: str) -> None:
    Page(world.up("vm"))
    world.keeper("vm").kill()
    path = world.profiles / "vm.yaml"
    if damage == "gone":
        path.unlink()
    else:
        path.write_text("version: 1\ntarget: {kind: local}\n" if damage == "another machine" else "{")

    down = world.run("down", "vm", "--json")

    assert down.document["stopped"][0]["server"] == "stopped"
    assert [line for line in world.running() if "boot.py" in line] == []


def test_ctrl_c_of_one_of_two_ups_leaves_the_other_its_work(world: World, vm: CloudMachine) -> None:
    vm.sshd.refuse()
    first, second = world.start("up", "vm", "--json"), world.start("up", "vm")
    eventually(lambda: vm.status == "RUNNING" and knows_the_vm_runs(world))
    assert second.stderr is not None
    second.stderr.readline()
    first.send_signal(signal.SIGINT)
    out, _ = first.communicate(timeout=30)
    vm.sshd.resume()
    url, _ = second.communicate(timeout=60)

    assert "Another `up` still waits for vm" in json.loads(out)["error"]["why"]
    assert Page(url.strip()).ask("GET", "/api/kernels")[0] == 200


@pytest.fixture
def patient(world: World) -> Iterator[CloudMachine]:
    """An `up` waits for its SSH server for longer than these tests freeze it: one that is refused soon gives up."""
    with cloud_machine(world, extra=SHORT.replace("ssh: 15s", "ssh: 60s")) as machine:
        path = world.profiles / "vm.yaml"
        path.write_text(path.read_text().replace("instance: my-vm", "instance: my-vm, connect: external"))
        yield machine


def wait_for_line(command: subprocess.Popen[str], words: str) -> None:
    assert command.stderr is not None
    assert any(words in line for line in command.stderr), "it ended without them"


def at_work(world: World) -> subprocess.Popen[str]:
    """An `up` of a runtime that was lost, which has called the repair off and looks for the machine itself."""
    command = world.start("up", "vm")
    wait_for_line(command, "Connecting to my-vm")
    return command


def test_two_ups_of_a_runtime_that_was_lost_both_get_its_url(world: World, patient: CloudMachine) -> None:
    url = world.up("vm")
    patient.sshd.freeze()
    patient.sshd.cut()
    eventually(lambda: world.file("vm")["state"] == "reconnecting")
    first = at_work(world)
    second = world.start("up", "vm")
    wait_for_line(second, "Profile vm")
    watched_until = time.monotonic() + 3.0  # it is heard in a moment, and the first goes on
    while time.monotonic() < watched_until:
        assert first.poll() is None, first.communicate()
        time.sleep(0.1)
    patient.sshd.resume()
    for command in (first, second):
        out, err = command.communicate(timeout=60)
        assert out.strip() == url, err


def test_an_up_that_asks_for_more_than_the_one_before_it_waits_for_its_own(world: World, patient: CloudMachine) -> None:
    world.up("vm")
    port = free_port()
    patient.sshd.freeze()
    patient.sshd.cut()
    eventually(lambda: world.file("vm")["state"] == "reconnecting")
    first = at_work(world)
    second = world.start("up", "vm", "--port", str(port))
    wait_for_line(second, "Profile vm")
    patient.sshd.resume()
    assert first.communicate(timeout=60)[0]
    out, err = second.communicate(timeout=60)
    assert f":{port}/" in out, err


def test_a_port_given_to_the_first_up_stays_with_the_next_ones(world: World, vm: CloudMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = world.up("vm", "--port", str(port))
    assert world.up("vm") == url
