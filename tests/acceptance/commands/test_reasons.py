"""A VM that cannot be entered: `up` says why, as Compute Engine knows it."""

from __future__ import annotations

from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.machines.gce_vm import NAME, PROJECT, cloud_machine


def test_up_names_the_firewall_that_is_in_the_way(world: World) -> None:
    with cloud_machine(world, status="RUNNING") as vm:
        vm.emulator.cloud.networks[PROJECT]["firewalls"] = []
        vm.sshd.refuse()
        done = world.run("up", "vm", "--json")
        assert done.code == 1
        assert done.error["code"] == "firewall-blocked"
        assert done.error["what"].startswith(f"Can't connect to 127.0.0.1:{vm.sshd.port} (connection refused")
        both = "from the internet and from Identity-Aware Proxy (35.235.240.0/20)"
        assert f"The firewall blocks tcp:{vm.sshd.port} {both}" in done.error["why"]
        assert f"--allow=tcp:{vm.sshd.port} --source-ranges=35.235.240.0/20" in done.error["hint"]


def test_a_preempted_spot_vm_comes_back_by_itself_and_one_that_was_stopped_by_hand_does_not(world: World) -> None:
    with cloud_machine(world, status="RUNNING") as vm:
        cloud = vm.emulator.cloud
        world.up("vm")
        cloud.preempt(NAME)
        eventually(lambda: vm.status == "TERMINATED")
        vm.sshd.refuse()
        vm.sshd.cut()
        eventually(lambda: vm.status == "RUNNING")
        vm.sshd.resume()
        eventually(lambda: world.look("vm")["state"] == "ready")
        assert "was preempted; starting it again" in world.log("vm")

        cloud.change("stop", cloud.instances[0])
        eventually(lambda: vm.status == "TERMINATED")
        vm.sshd.refuse()
        vm.sshd.cut()
        eventually(lambda: "demo@example.com stopped it" in world.file("vm")["why"])
        assert world.file("vm")["last_error"]["code"] == "instance-stopped"
        assert vm.status == "TERMINATED"
