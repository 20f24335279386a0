"""A Compute Engine VM for the tests: the API is the emulator's, SSH is a real OpenSSH server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from remote_runtime.demo.gcp_api.values import Delays, Vm
from remote_runtime.demo.iap_relay.server import instance_finder
from tests.support.faults.faulty_emulator import FaultyEmulator
from tests.support.faults.faulty_relay import FaultyRelay

from ..environment.world import World
from ..servers.sshd import Sshd, running_sshd

PROJECT, ZONE, NAME = "my-project", "europe-west4-a", "my-vm"


@dataclass(frozen=True)
class CloudMachine:
    emulator: FaultyEmulator
    sshd: Sshd
    relay: FaultyRelay

    @property
    def status(self) -> str:
        return str(self.emulator.cloud.instance(PROJECT, ZONE, NAME).status)


@contextlib.contextmanager
def cloud_machine(
    world: World,
    *,
    status: str = "TERMINATED",
    profile: str = "vm",
    extra: str = "",
    sshd_config: Sequence[str] = (),
    external: bool = True,
    address: str = "127.0.0.1",
    machine: AbstractContextManager[Sshd] | None = None,
) -> Iterator[CloudMachine]:
    """The VM, and a profile for it in ``world``; ``extra``: more lines of the profile; ``sshd_config``: of its
    SSH server's; ``external``: whether it has an external ``address``. A relay of IAP leads to it in any case.
    ``machine``: another SSH server, with its files inside the world's home."""
    with contextlib.ExitStack() as stack:
        # Inside the world, so that what runs on the machine counts as the world's processes.
        sshd = stack.enter_context(machine or running_sshd(world.home / "machine", config=sshd_config))
        keys = dict(line.split() for line in sshd.host_keys)
        vm = Vm(NAME, zone=ZONE, project=PROJECT, status=status, address=address, external=external, host_keys=keys)
        emulator = stack.enter_context(FaultyEmulator([vm], delays=Delays(start_s=0.3, stop_s=0.3)))
        relay = FaultyRelay(instance_finder(emulator.cloud))
        stack.callback(relay.close)
        world.environ["REMOTE_RUNTIME_IAP_URL"] = relay.url
        world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] = emulator.endpoint
        world.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"] = "true"
        world.profile(
            profile,
            f"version: 1\n"
            f"target: {{kind: gce, project: {PROJECT}, zone: {ZONE}, instance: {NAME}}}\n"
            f"ssh: {{user: {sshd.user}, port: {sshd.port}, identity_file: {sshd.key_path}}}\n"
            f"{extra}",
        )
        stack.callback(world.end)
        yield CloudMachine(emulator, sshd, relay)
