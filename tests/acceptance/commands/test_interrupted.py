"""What is left when `up` or the keeper is interrupted, at any step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually, free_port
from tests.support.environment.world import World
from tests.support.machines.gce_vm import CloudMachine, cloud_machine

STEPS = ("Finding my-vm", "Connecting to my-vm", "Starting Jupyter")


@pytest.fixture
def vm(world: World) -> Iterator[CloudMachine]:
    with cloud_machine(world) as machine:
        yield machine


def read_until(command: subprocess.Popen[str], text: str) -> None:
    assert command.stderr is not None
    seen = ""
    for line in command.stderr:
        seen += line
        if text in line:
            return
    raise AssertionError(f"{text!r} was never told: {seen}")


def hold(vm: CloudMachine, step: str) -> Callable[[], None]:
    """Make the story stand still at this step; the answer lets it go on."""
    if step == "Finding my-vm":
        vm.emulator.latency_s = 1.5
        return lambda: setattr(vm.emulator, "latency_s", 0.0)
    if step == "Connecting to my-vm":
        vm.sshd.refuse()
        return vm.sshd.resume
    return lambda: None


@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_undoes_everything_and_says_so(world: World, vm: CloudMachine, step: str) -> None:
    let_go = hold(vm, step)
    command = world.start("up", "vm", "--json", "-v")
    eventually(lambda: (world.state / "vm.json").exists())
    if step != "Finding my-vm":
        eventually(lambda: world.file("vm")["instance"] and world.file("vm")["instance"]["status"] == "RUNNING")
    if step == "Starting Jupyter":
        eventually(vm.sshd.logins)
    command.send_signal(signal.SIGINT)
    let_go()
    out, _ = command.communicate(timeout=60)

    assert command.returncode == 130
    assert json.loads(out)["error"]["code"] == "interrupted"
    nothing_is_left(world, vm)
    assert world.run("down", "vm", "--purge").code == 0, "nothing was put on a machine that is stopped"


def test_a_closed_terminal_undoes_everything(world: World, vm: CloudMachine) -> None:
    vm.sshd.refuse()
    command = world.start("up", "vm")
    read_until(command, "Connecting to my-vm")
    assert vm.status == "RUNNING"
    os.killpg(command.pid, signal.SIGHUP)
    command.communicate(timeout=20)

    eventually(lambda: not (world.state / "vm.json").exists(), within_s=60)
    nothing_is_left(world, vm)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("step", STEPS)
def test_a_keeper_that_is_killed_at_any_step_leaves_what_down_cleans_up(
    world: World, vm: CloudMachine, step: str, sign: signal.Signals
) -> None:
    let_go = hold(vm, step)
    command = world.start("up", "vm", "--json", "-v")
    eventually(lambda: (world.state / "vm.json").exists())
    if step != "Finding my-vm":
        eventually(lambda: world.file("vm")["instance"] and world.file("vm")["instance"]["status"] == "RUNNING")
    if step == "Starting Jupyter":
        eventually(vm.sshd.logins)
    world.keeper("vm").send_signal(sign)
    let_go()
    out, _ = command.communicate(timeout=60)

    assert command.returncode in (1, 130)
    assert json.loads(out)["error"]["code"] in ("keeper-died", "interrupted")
    assert world.look("vm")["state"] == "down"
    down = world.run("down", "vm", "--json")
    assert down.code == 0, down.out
    nothing_is_left(world, vm)


def test_a_keeper_that_is_killed_when_ready_is_mended_by_up_with_the_kernels_kept(
    world: World, vm: CloudMachine
) -> None:
    url = world.up("vm", "--port", str(free_port()))
    kernel = Page(url).start_kernel()
    Page(url).run(kernel, "kept = 41")
    world.keeper("vm").kill()

    told = eventually(lambda: (told := world.look("vm"))["state"] == "down" and told)
    assert "ended unexpectedly" in told["why"]
    again = Page(world.up("vm"))
    assert again.host == Page(url).host
    assert again.run(kernel, "print(kept + 1)") == "42"


def test_down_after_a_killed_keeper_stops_the_server(world: World, vm: CloudMachine) -> None:
    world.up("vm")
    world.keeper("vm").kill()

    down = world.run("down", "vm", "--json")

    assert down.document["stopped"][0]["server"] == "stopped"
    assert [command for command in world.running() if "jupyter" in command] == []
    assert not (world.state / "vm.json").exists()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGHUP])
def test_an_up_right_after_one_that_was_killed_begins_anew(
    world: World, vm: CloudMachine, sign: signal.Signals
) -> None:
    let_go = hold(vm, "Connecting to my-vm")
    first = world.start("up", "vm")
    read_until(first, "Connecting to my-vm")
    vm.emulator.latency_s = 1.0  # so that it is being undone for a while
    os.killpg(first.pid, sign)
    let_go()
    threading.Timer(3.0, lambda: setattr(vm.emulator, "latency_s", 0.0)).start()
    again = world.run("up", "vm", "-v")
    assert again.code == 0, again.err
    assert "interrupted" in again.err, "it is told what is waited for"
    assert Page(again.out.strip()).ask("GET", "/api/kernels")[0] == 200
    assert vm.status == "RUNNING"


def test_two_ups_at_once_are_one_piece_of_work(world: World, vm: CloudMachine) -> None:
    first, second = world.start("up", "vm", "-v"), world.start("up", "vm", "-v")
    (one, _), (other, _) = first.communicate(timeout=90), second.communicate(timeout=90)
    assert first.returncode == second.returncode == 0
    assert one == other
    assert vm.sshd.logins() == 1


def nothing_is_left(world: World, vm: CloudMachine) -> None:
    assert eventually(lambda: vm.status in ("TERMINATED", "STOPPING"), what="the instance is put back")
    eventually(lambda: not world.running(), what=f"no process is left: {world.running()}")
    assert not (world.state / "vm.json").exists()
    assert not (world.state / "vm.sock").exists()
    servers = vm.sshd.home / ".local/share/remote-runtime/servers"
    assert not servers.exists() or not any(path.is_dir() for path in servers.iterdir())
