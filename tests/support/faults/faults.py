"""Faults for `up` to meet and for `doctor` to name, each put where it belongs: the cloud, the way in, the machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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


def know(world: World, *servers: Sshd) -> None:
    """The person at this computer has been there before."""
    (world.home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    lines = [f"[{sshd.address}]:{sshd.port} {key}\n" for sshd in servers for key in sshd.host_keys]
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


def machine_refuses(box: Sshd, world: World) -> None:
    box.refuse()


def machine_is_silent(box: Sshd, world: World) -> None:
    box.freeze()


def key_is_not_accepted(box: Sshd, world: World) -> None:
    (box.directory / "authorized_keys").write_text("")


def host_key_is_unknown(box: Sshd, world: World) -> None:
    (world.home / ".ssh" / "known_hosts").unlink()


def host_key_has_changed(box: Sshd, world: World) -> None:
    box.rotate_host_keys()


def python_is_missing(box: Sshd, world: World) -> None:
    write_box(world, box, HURRY + "jupyter: {python: /nowhere/python3}\n")


def python_writes_megabytes(box: Sshd, world: World) -> None:
    evil = box.home / "python"
    evil.write_text("#!/bin/sh\ncat >/dev/null &\nhead -c 40000000 /dev/zero | tr '\\0' x\n")
    evil.chmod(0o755)
    write_box(world, box, HURRY + f"jupyter: {{python: {evil}}}\n")


def jupyter_is_missing(box: Sshd, world: World) -> None:
    write_box(world, box, HURRY + "jupyter: {python: /usr/bin/python3, install: never}\n")


def jupyter_does_not_start(box: Sshd, world: World) -> None:
    write_box(world, box, HURRY + "jupyter: {args: ['--ServerApp.iopub_data_rate_limit=lots']}\n")


def folder_is_taken(box: Sshd, world: World) -> None:
    (box.home / ".local").write_text("a file where a folder should be")


M = TypeVar("M", CloudMachine, Sshd)


@dataclass(frozen=True)
class Fault(Generic[M]):
    """``put`` makes it. `up` fails with ``code`` and ``words``, and so does doctor's line ``check``; None: only a start
    shows it."""

    put: Callable[[M, World], None]
    code: str
    words: str
    check: str | None


CLOUD_FAULTS = [
    Fault(name_is_mistyped, "instance-not-found", "my-vm", "instance"),
    Fault(credentials_are_missing, "no-credentials", "gcloud auth application-default login", "credentials"),
    Fault(api_is_unreachable, "cloud-unreachable", "127.0.0.1", "credentials"),
    Fault(vm_is_forbidden, "permission-denied", "compute.instances.get", "instance"),
    Fault(vm_start_is_forbidden, "permission-denied", "compute.instances.start", "permissions"),
    Fault(start_is_forbidden_by_the_profile, "instance-stopped", "target.start: true", "instance"),
    Fault(zone_is_exhausted, "no-capacity", "zone", None),
    Fault(quota_is_used_up, "quota-exceeded", "quota", None),
]
MACHINE_FAULTS = [
    Fault(machine_refuses, "ssh-unreachable", "refused", "ssh"),
    Fault(machine_is_silent, "ssh-unreachable", "sends nothing", "ssh"),
    Fault(host_key_is_unknown, "host-key-unknown", "accept-new", "host-key"),
    Fault(host_key_has_changed, "host-key-changed", "SHA256:", "host-key"),
    Fault(key_is_not_accepted, "no-usable-key", "ssh.identity_file", "login"),
    Fault(python_is_missing, "python-missing", "/nowhere/python3", "interpreter"),
    Fault(python_writes_megabytes, "python-missing", "it is not a Python", "interpreter"),
    Fault(jupyter_is_missing, "jupyter-missing", "/usr/bin/python3", "jupyter"),
    Fault(jupyter_does_not_start, "jupyter-did-not-start", "iopub_data_rate_limit", "jupyter"),
    Fault(folder_is_taken, "folder-unusable", ".local", "jupyter"),
]


def name_of(fault: Fault[Any]) -> str:
    return fault.put.__name__
