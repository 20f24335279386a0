"""A project without instances, for the tests of creation: the API is the emulator's, SSH is a real OpenSSH server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from remote_runtime.demo.gcp_api.networks import nat_routers
from remote_runtime.demo.gcp_api.values import Delays, Vm
from remote_runtime.demo.iap_relay.server import instance_finder
from tests.support.faults.faulty_emulator import FaultyEmulator
from tests.support.faults.faulty_relay import FaultyRelay

from ..environment.world import World
from ..servers.sshd import Sshd, running_sshd

PROJECT, NAME = "my-project", "my-l4"
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c")
IMAGE = "{family: debian-12, project: debian-cloud}"


@dataclass(frozen=True)
class EmptyProject:
    emulator: FaultyEmulator
    sshd: Sshd
    project: str = PROJECT

    @property
    def places(self) -> list[str]:
        """The zones that have an instance."""
        return [each.vm.zone for each in self.emulator.cloud.instances]

    @property
    def is_empty(self) -> bool:
        return not self.emulator.cloud.instances and not self.emulator.cloud.disks


def profile_text(sshd: Sshd, *, place: str = f"zones: [{', '.join(ZONES)}]", create: str = "", more: str = "") -> str:
    """``create``, ``more``: further keys of `target.create`, and of the profile."""
    return (
        "version: 1\n"
        f"target:\n  kind: gce\n  project: {PROJECT}\n  {place}\n  instance: {NAME}\n"
        f"  create: {{machine_type: g2-standard-8, image: {IMAGE}{', ' * bool(create)}{create}}}\n"
        f"ssh: {{user: {sshd.user}, port: {sshd.port}, identity_file: {sshd.key_path}}}\n"
        f"{more}"
    )


@contextlib.contextmanager
def empty_project(
    world: World,
    *,
    delays: Delays | None = None,
    profile: str = "new",
    vms: Sequence[Vm] = (),
    text: Callable[[Sshd], str] | None = None,
    **keys: str,
) -> Iterator[EmptyProject]:
    """The project, and a profile that creates a VM in it. ``vms``: what exists already. ``text``: of another profile.
    ``keys``: as of ``profile_text``."""
    with contextlib.ExitStack() as stack:
        # Inside the world, so that what runs on the machine counts as the world's processes.
        sshd = stack.enter_context(running_sshd(world.home / "machine"))
        host_keys = dict(line.split() for line in sshd.host_keys)

        def equip(vm: Vm) -> Vm:
            is_machine = not vms or vm.content in {each.content for each in vms}
            return replace(vm, address="127.0.0.1", host_keys=host_keys) if is_machine else vm

        emulator = stack.enter_context(
            FaultyEmulator(vms, project_metadata={PROJECT: {}}, delays=delays or Delays(), guest_factory=equip)
        )
        emulator.cloud.networks[PROJECT]["routers"] += nat_routers(PROJECT)
        relay = FaultyRelay(instance_finder(emulator.cloud))
        stack.callback(relay.close)
        world.environ["REMOTE_RUNTIME_IAP_URL"] = relay.url
        world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] = emulator.endpoint
        world.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"] = "true"
        world.profile(profile, text(sshd) if text else profile_text(sshd, **keys))
        stack.callback(world.end)
        yield EmptyProject(emulator, sshd)


OLD_VM = Vm("my-vm", PROJECT, ZONES[0], labels={"team": "vision"}, data_disks=("data",), content="the files of my-vm")


@contextlib.contextmanager
def stopped_vm(world: World, *, delays: Delays | None = None, vm: Vm = OLD_VM) -> Iterator[EmptyProject]:
    """A project with a stopped VM, whose zone has no capacity, and the profile ``my-vm``, which names that zone. SSH
    reaches a machine with the files of its disk alone."""

    def text(sshd: Sshd) -> str:
        target = f"{{kind: gce, project: {PROJECT}, zone: {vm.zone}, instance: {vm.name}}}"
        ssh = f"{{user: {sshd.user}, port: {sshd.port}, identity_file: {sshd.key_path}}}"
        return f"version: 1\ntarget: {target}\nssh: {ssh}\n"

    with empty_project(world, delays=delays, profile="my-vm", vms=[vm], text=text) as project:
        project.emulator.cloud.exhausted = {vm.zone: "ZONE_RESOURCE_POOL_EXHAUSTED"}
        yield project
