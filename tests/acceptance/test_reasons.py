"""A VM that cannot be entered: `up` says why, as Compute Engine knows it."""

from __future__ import annotations

from tests.support.cloud import PROJECT, cloud_machine
from tests.support.world import World


def test_up_names_the_firewall_that_is_in_the_way(world: World) -> None:
    with cloud_machine(world, status="RUNNING") as vm:
        vm.emulator.cloud.firewalls[PROJECT] = []
        vm.sshd.refuse()
        done = world.run("up", "vm", "--json")
        assert done.code == 1
        assert done.error["code"] == "firewall-blocked"
        assert done.error["what"].startswith(f"Nothing answers at 127.0.0.1:{vm.sshd.port} (connection refused)")
        assert f"the firewall lets no tcp:{vm.sshd.port} in from the internet" in done.error["why"]
        assert f"--allow=tcp:{vm.sshd.port}" in done.error["hint"]
