"""A VM that only Identity-Aware Proxy reaches: the relay is ours, SSH is a real OpenSSH server, Jupyter is real."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from remote_runtime.demo.gcp_api.networks import firewall_rule
from remote_runtime.demo.iap_relay.server import PERMISSION
from tests.support.clients.page import Page
from tests.support.environment.network import swallowing
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faulty_relay import RelayFault
from tests.support.machines.gce_vm import NAME, PROJECT, ZONE, cloud_machine

ELSEWHERE = "127.0.0.2"  # where nothing listens


def test_a_vm_without_an_external_address_runs_a_cell_and_survives_the_relay(world: World) -> None:
    with cloud_machine(world, external=False) as vm:
        vm.relay.faults.append(RelayFault("rst", 100_000))
        up = world.run("up", "vm")
        assert up.code == 0, up.err
        assert "Using Identity-Aware Proxy: it has no external address" in up.err
        url = up.out.strip()
        page = Page(url)
        kernel = page.start_kernel()
        assert page.run(kernel, "x = 6 * 7; print(x)") == "42"

        runtime = world.look("vm")
        assert runtime["instance"]["via"] == "iap"
        assert "through IAP" in world.run("status", "vm").out
        assert vm.sshd.logins() == 1, "the broken WebSocket was resumed under the same SSH connection"
        assert [asked.verb for asked in vm.relay.requests][:2] == ["connect", "reconnect"]
        assert vm.relay.requests[0].query["instance"] == NAME

        vm.relay.drop_sessions()  # as when Google restarts it: nothing can be resumed

        eventually(lambda: world.look("vm")["reconnects"] == 1 and world.look("vm")["state"] == "ready")
        assert world.run("url", "vm").out.strip() == url
        assert page.run(kernel, "print(x)") == "42"
        assert vm.sshd.logins() == 2
        assert world.look("vm")["instance"]["via"] == "iap"


@pytest.mark.parametrize("firewall", ["rejects", "drops"])
def test_an_external_address_that_does_not_answer_is_left_for_iap(world: World, firewall: str) -> None:
    with ExitStack() as stack:
        vm = stack.enter_context(cloud_machine(world, status="RUNNING", address=ELSEWHERE))
        if firewall == "drops":
            stack.enter_context(swallowing(ELSEWHERE, vm.sshd.port))
        up = world.run("up", "vm")
        assert up.code == 0, up.err
        assert f"Using Identity-Aware Proxy: {ELSEWHERE}:{vm.sshd.port} does not respond from here" in up.err
        assert world.look("vm")["instance"]["via"] == "iap"

        vm.sshd.cut()

        eventually(lambda: world.look("vm")["reconnects"] == 1 and world.look("vm")["state"] == "ready")
        assert world.look("vm")["instance"]["via"] == "iap", "a repair goes the same way"


@pytest.mark.parametrize("connect", ["auto", "iap"])
def test_without_the_permission_the_error_names_it_and_how_to_get_it(world: World, connect: str) -> None:
    with cloud_machine(world, status="RUNNING", external=connect == "auto", address=ELSEWHERE) as vm:
        text = (world.profiles / "vm.yaml").read_text()
        target = f"{{kind: gce, project: {PROJECT}, zone: {ZONE}, instance: {NAME}"
        world.profile("vm", text.replace(target, f"{target}, connect: {connect}"))
        vm.emulator.forbidden_permissions.add(PERMISSION)
        vm.emulator.cloud.networks[PROJECT]["firewalls"] = [
            firewall_rule(PROJECT, "iap", "35.235.240.0/20", ports=(str(vm.sshd.port),))
        ]

        up = world.run("up", "vm", "--json")

        assert up.code == 1
        assert up.error["code"] == "iap-refused"
        assert PERMISSION in up.error["what"]
        assert "roles/iap.tunnelResourceAccessor" in up.error["hint"]
        assert not (world.state / "vm.json").exists()
