"""Faults for `up` to meet and for `doctor` to name, each put where it belongs: the cloud, the way in, the machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from tests.support.faults.faulty_emulator import OperationFault

from ..environment.world import World
from ..machines.gce_vm import CloudMachine
from ..servers.sshd import Sshd, running_sshd

HURRY = "timeouts: {instance: 10s, ssh: 4s, jupyter: 20s, ready: 10s}\n"


@contextlib.contextmanager
def ssh_host(world: World) -> Iterator[Sshd]:
    """An SSH host, and the profile `box` for it."""
    with running_sshd(world.home / "machine") as sshd:
        know(world, sshd)
        write_box(world, sshd)
        yield sshd
        sshd.resume()
        world.end()


def know(world: World, sshd: Sshd) -> None:
    """The person at this computer has been there before."""
    (world.home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    lines = [f"[{sshd.address}]:{sshd.port} {key}\n" for key in sshd.host_keys]
    (world.home / ".ssh" / "known_hosts").write_text("".join(lines))


def write_box(world: World, sshd: Sshd, extra: str = HURRY, **ssh: str) -> None:
    settings = {"user": sshd.user, "identity_file": str(sshd.key_path), **ssh}
    lines = "".join(f"  {key}: {value}\n" for key, value in settings.items())
    world.profile("box", f"version: 1\ntarget: {{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}\nssh:\n{lines}{extra}")


def vm_is_forbidden(vm: CloudMachine, world: World) -> None:
    vm.emulator.forbidden_permissions.add("compute.instances.get")


def vm_start_is_forbidden(vm: CloudMachine, world: World) -> None:
    vm.emulator.forbidden_permissions.add("compute.instances.start")


def zone_is_exhausted(vm: CloudMachine, world: World) -> None:
    vm.emulator.cloud.fail_next["start"] = OperationFault("ZONE_RESOURCE_POOL_EXHAUSTED")


def quota_is_used_up(vm: CloudMachine, world: World) -> None:
    vm.emulator.cloud.fail_next["start"] = OperationFault("QUOTA_EXCEEDED")


def start_is_forbidden_by_the_profile(vm: CloudMachine, world: World) -> None:
    change(world, "instance: my-vm}", "instance: my-vm, start: false}")


def name_is_mistyped(vm: CloudMachine, world: World) -> None:
    change(world, "instance: my-vm}", "instance: my-vn}")


def api_is_unreachable(vm: CloudMachine, world: World) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}/compute/v1/"
    world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] = endpoint


def credentials_are_missing(vm: CloudMachine, world: World) -> None:
    del world.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"]
    world.environ["NO_GCE_CHECK"] = "true"


def change(world: World, old: str, new: str) -> None:
    path = world.profiles / "vm.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
