"""A worker on a Compute Engine VM: started for the cluster, and stopped as its profile says."""

from __future__ import annotations

import os
import signal
import sys

from tests.support.environment.processes import commands_of
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.machines.gce_vm import NAME, CloudMachine, cloud_machine

HEAD = f"version: 1\ntarget: {{kind: local}}\njupyter: {{python: {sys.executable}}}\n"


def preempt(vm: CloudMachine) -> None:
    """Compute Engine stops the VM, and its processes end."""
    vm.emulator.cloud.set_status(NAME, "TERMINATED")
    eventually(lambda: vm.status == "TERMINATED", what="the VM is stopped")
    for pid, command in commands_of(vm.sshd.home).items():
        if "dask_worker" in command or "spawn_main" in command:
            os.kill(pid, signal.SIGKILL)


def test_a_vm_is_started_for_the_cluster_again_when_it_was_stopped_and_ends_as_its_profile_says(world: World) -> None:
    with cloud_machine(world, extra="on_down: {instance: stop}\n") as vm:
        world.profile("head", HEAD + "cluster: {workers: [{profile: vm}], threads: 1, memory: 300MB}\n")
        world.up("head", "--workers", "1")
        assert vm.status == "RUNNING"
        preempt(vm)
        eventually(lambda: vm.status == "RUNNING", within_s=60, what="the VM is started again")
        world.up("head", "--workers", "1")
        os.kill(world.keeper("head").pid, signal.SIGKILL)
        done = world.run("down", "head")
        assert done.code == 0, done.err
        assert vm.status == "TERMINATED"
        assert [command for command in commands_of(vm.sshd.home).values() if "dask" in command] == []
