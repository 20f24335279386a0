"""The whole machine: directory, account, SSH server, emulator."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncssh

from . import processes
from .directory import Directory, write_private
from .gcp_api.emulator import ComputeEmulator
from .gcp_api.metadata_server import MetadataServer
from .gcp_api.networks import nat_routers
from .gcp_api.values import Delays, Vm
from .iap_relay.server import Relay, instance_finder
from .ssh_server.account import Account, current_user
from .ssh_server.server import SshServer

PROJECT, ZONE, INSTANCE = "demo", "us-central1-a", "demo-vm"
DELAYS = Delays(queue_s=0.1, start_s=1.0, stop_s=0.5, insert_s=1.0, delete_s=0.3, boot_s=0.4)
POLL_S = 0.2


class MachineDied(Exception):
    """The SSH server or the emulator ended by itself."""


class DemoGuest:
    """The ``Guest`` of the instance: the SSH server and all processes with the account's marker."""

    def __init__(self, account: Account, ssh_server: SshServer) -> None:
        self._machine_id = account.machine_id
        self._ssh_server = ssh_server

    def boot(self) -> Mapping[str, str]:
        self._ssh_server.open()
        return self._ssh_server.host_keys

    def halt(self) -> None:
        self._ssh_server.close()
        processes.terminate_all(self._machine_id)

    def freeze(self) -> None:
        self._ssh_server.freeze()
        processes.suspend_all(self._machine_id)

    def thaw(self) -> None:
        processes.resume_all(self._machine_id)
        self._ssh_server.thaw()


@dataclass(frozen=True)
class MachinePlan:
    """``exists``: the instance is there; else a client creates it. ``external``: whether it has an external address;
    without one, only Identity-Aware Proxy's relay reaches it. ``exhausted_zones``: those without capacity."""

    exists: bool = True
    external: bool = True
    exhausted_zones: tuple[str, ...] = ()


def run(path: Path, ended: threading.Event, plan: MachinePlan) -> None:
    """Runs the machine in ``path`` until ``ended`` is set, ``machine.json`` vanishes, or a part of it dies.

    Raises ``OSError`` if it cannot be started, ``MachineDied``. At the end no process of the machine is left, and no
    ``path``.
    """
    with ExitStack() as undo:
        directory = undo.enter_context(Directory.locked(path))
        if directory.previous_id:
            processes.terminate_all(directory.previous_id)
        machine_id = secrets.token_hex(16)
        directory.claim(machine_id)
        account = Account(current_user(), directory.path / "home", machine_id)
        account.prepare()
        key_file = directory.path / "key"
        ssh_server = undo.enter_context(_ssh_server(account, key_file))
        undo.callback(processes.terminate_all, machine_id)
        authorized_line = f"{account.user}:{key_file.with_suffix('.pub').read_text().strip()}"
        metadata = undo.enter_context(MetadataServer())

        def equip(vm: Vm) -> Vm:
            metadata.show(vm)
            guest = DemoGuest(account, ssh_server)
            return replace(vm, address="127.0.0.1", guest=guest, authorize=ssh_server.authorize)

        switched_on = {"enable-guest-attributes": "TRUE"}
        vm = Vm(INSTANCE, PROJECT, ZONE, metadata=switched_on, external=plan.external)
        emulator = undo.enter_context(
            ComputeEmulator(
                [equip(vm)] if plan.exists else [],
                project_metadata={PROJECT: {"ssh-keys": authorized_line}},
                delays=DELAYS,
                guest_factory=equip,
                on_shutdown=ended.set,
            )
        )
        emulator.cloud.networks[PROJECT]["routers"] += nat_routers(PROJECT)
        emulator.cloud.exhausted.update(dict.fromkeys(plan.exhausted_zones, "ZONE_RESOURCE_POOL_EXHAUSTED"))
        account.extra_environment["GCE_METADATA_HOST"] = metadata.address
        account.extra_environment["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] = emulator.endpoint
        relay = Relay(instance_finder(emulator.cloud))
        undo.callback(relay.close)
        description = directory.path / "machine.json"
        content = _describe(emulator, relay, ssh_server, account, key_file)
        write_private(description, json.dumps(content, indent=2).encode())
        while description.exists() and not ended.wait(POLL_S):
            if not ssh_server.alive or not emulator.alive:
                raise MachineDied("its SSH server died" if emulator.alive else "its Compute Engine API died")
        description.unlink(missing_ok=True)


@contextmanager
def _ssh_server(account: Account, key_file: Path) -> Iterator[SshServer]:
    key = asyncssh.generate_private_key("ssh-ed25519", comment="remote-runtime demo")
    write_private(key_file, key.export_private_key())
    write_private(key_file.with_suffix(".pub"), key.export_public_key())
    ssh_server = SshServer(account)
    ssh_server.start()
    try:
        yield ssh_server
    finally:
        ssh_server.stop()


def _describe(
    emulator: ComputeEmulator, relay: Relay, ssh_server: SshServer, account: Account, key_file: Path
) -> dict[str, object]:
    return {
        "endpoint": emulator.endpoint,
        "iap_url": relay.url,
        "os_login_endpoint": emulator.os_login_endpoint,
        "project": PROJECT,
        "zone": ZONE,
        "instance": INSTANCE,
        "ssh_port": ssh_server.port,
        "user": account.user,
        "identity_file": str(key_file),
        "pid": os.getpid(),
        "shutdown": f"{emulator.root}/shutdown",
        "since": time.time(),
    }
