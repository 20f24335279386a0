"""The ways into a ``Doorway``: what lets a person in, and what the machine is known by."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remote_runtime.demo.gcp_api.os_login import PosixAccount
from remote_runtime.ssh.files.known_hosts import parse_keys, pin
from tests.support.machines.gce_login_vm import PROJECT, Doorway
from tests.support.servers.sshd import make_key

from ..environment.waiting import eventually

LET_IN = ("metadata key", "OS Login", "existing key", "agent")
KNOWN_BY = ("guest attributes", "our pin", "gcloud's pin")


@contextmanager
def let_in_by(way: str, door: Doorway) -> Iterator[None]:
    """One of ``LET_IN``."""
    if way == "OS Login":
        with door.emulator.cloud.changed:
            door.vm.metadata["enable-oslogin"] = "TRUE"
            door.account.accounts.append(PosixAccount(door.sshd.user, PROJECT))
    if way == "existing key":
        make_key(door.key_file("id_ed25519"))
        door.sshd.authorize(door.key_file("id_ed25519.pub").read_text())
    if way != "agent":
        yield
        return
    at, path = door.home / "agent", door.home / "in agent"
    make_key(path)
    door.sshd.authorize(path.with_name("in agent.pub").read_text())
    running = subprocess.Popen(["ssh-agent", "-D", "-a", str(at)], stdout=subprocess.DEVNULL)
    door.environ["SSH_AUTH_SOCK"] = str(at)
    agent = {**os.environ, "SSH_AUTH_SOCK": str(at)}
    try:
        eventually(lambda: _listens(at))
        subprocess.run(["ssh-add", "-q", str(path)], env=agent, check=True, capture_output=True)
        yield
    finally:
        door.ring.close()
        running.terminate()
        running.wait(10)


def _listens(at: Path) -> bool:
    """A socket's file is there before anybody listens on it."""
    with socket.socket(socket.AF_UNIX) as visitor:
        return visitor.connect_ex(str(at)) == 0


def know(door: Doorway, way: str) -> None:
    """One of ``KNOWN_BY``. The machine publishes its host keys only where they are known by that."""
    if way == "guest attributes":
        return
    door.vm.metadata["enable-guest-attributes"] = "FALSE"
    name, line = f"compute.{door.vm.id}", door.sshd.host_keys[0]
    if way == "our pin":
        pin(door.state.known_hosts, name, parse_keys([line])[0])
    else:
        (door.home / ".ssh" / "google_compute_known_hosts").write_text(f"{name} {line}\n")
