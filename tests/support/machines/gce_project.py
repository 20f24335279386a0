"""A project of Compute Engine without a VM: the API is the emulator's, and a VM that is created has a real sshd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from remote_runtime.demo.gcp_api.instance import EmulatedInstance
from remote_runtime.demo.gcp_api.values import Delays, Vm
from remote_runtime.demo.iap_relay.server import instance_finder
from tests.support.faults.faulty_emulator import FaultyCloud, FaultyEmulator
from tests.support.faults.faulty_relay import FaultyRelay

from ..environment.world import World
from ..servers.sshd import Sshd, running_sshd

PROJECT, NAME = "my-project", "my-l4"
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c", "us-east1-b", "europe-west4-a", "europe-west4-b")
CREATE = (
    "{machine_type: g2-standard-8, image: {family: pytorch-2-9-cu129-ubuntu-2404-nvidia-580, "
    "project: deeplearning-platform-release}}"
)
DELAYS = Delays(queue_s=0.0, start_s=0.1, stop_s=0.1, insert_s=0.1, delete_s=0.1, metadata_s=0.0)


@dataclass(frozen=True)
class EmptyProject:
    """``created``: the instances of the project, in the order of their creation."""

    emulator: FaultyEmulator
    sshd: Sshd
    relay: FaultyRelay

    @property
    def cloud(self) -> FaultyCloud:
        return self.emulator.cloud

    @property
    def created(self) -> list[EmulatedInstance]:
        with self.cloud.changed:
            return list(self.cloud.instances)


@contextlib.contextmanager
def empty_project(
    world: World,
    *,
    name: str = NAME,
    zones: Sequence[str] = ZONES,
    create: str = CREATE,
    extra: str = "",
    delays: Delays = DELAYS,
) -> Iterator[EmptyProject]:
    """The project, and a profile for the VM ``name`` in ``world``. ``create``: its ``target.create``; ``extra``: more
    lines. A relay of IAP reaches what is created."""
    with contextlib.ExitStack() as stack:
        sshd = stack.enter_context(running_sshd(world.home / "machine"))
        keys = dict(line.split() for line in sshd.host_keys)

        def equip(vm: Vm) -> Vm:
            return replace(vm, address="127.0.0.1", host_keys=keys)

        emulator = stack.enter_context(
            FaultyEmulator(project_metadata={PROJECT: {}}, delays=delays, guest_factory=equip)
        )
        relay = FaultyRelay(instance_finder(emulator.cloud))
        stack.callback(relay.close)
        world.environ["REMOTE_RUNTIME_IAP_URL"] = relay.url
        world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] = emulator.endpoint
        world.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"] = "true"
        world.profile(
            name,
            f"version: 1\n"
            f"target: {{kind: gce, project: {PROJECT}, instance: {name}, zones: [{', '.join(zones)}],\n"
            f"  create: {create}}}\n"
            f"ssh: {{user: {sshd.user}, port: {sshd.port}, identity_file: {sshd.key_path}}}\n"
            f"{extra}",
        )
        stack.callback(world.end)
        yield EmptyProject(emulator, sshd, relay)
