"""Every way to be let in with every way to know the machine: found, entered, and a command run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from remote_runtime import ssh
from remote_runtime.demo.os_login import PosixAccount
from remote_runtime.ssh.known_hosts import parse_keys
from remote_runtime.ssh.pins import add_pin
from tests.support.doorway import PROJECT, Doorway, doorway
from tests.support.sshd import make_key

LET_IN = ("metadata key", "OS Login", "existing key", "agent")
KNOWN_BY = ("guest attributes", "our pin", "gcloud's pin")


@pytest.mark.parametrize("known_by", KNOWN_BY)
@pytest.mark.parametrize("let_in", LET_IN)
def test_the_machine_is_entered(tmp_path: Path, let_in: str, known_by: str) -> None:
    with doorway(tmp_path) as door, let_in_by(let_in, door):
        know(door, known_by)
        session = door.enter(door.find())
        assert door.run(session, "echo", "inside") == "inside"
        session.close()
        added = [key.by for key in door.keys]
        assert added == {"metadata key": ["metadata"], "OS Login": ["os-login"]}.get(let_in, [])
        pinned = ssh.show_pins(door.machines.state.pins, f"compute.{door.vm.id}")
        assert bool(pinned) == (known_by != "gcloud's pin"), "gcloud's pin is enough"


@contextmanager
def let_in_by(way: str, door: Doorway) -> Iterator[None]:
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
    socket, path = door.home / "agent", door.home / "in agent"
    make_key(path)
    door.sshd.authorize(path.with_name("in agent.pub").read_text())
    said = subprocess.run(["ssh-agent", "-s", "-a", str(socket)], check=True, capture_output=True, text=True).stdout
    match = re.search(r"SSH_AGENT_PID=(\d+)", said)
    assert match is not None
    door.environ["SSH_AUTH_SOCK"] = str(socket)
    agent = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    try:
        subprocess.run(["ssh-add", "-q", str(path)], env=agent, check=True, capture_output=True)
        yield
    finally:
        door.ring.close()
        os.kill(int(match[1]), signal.SIGTERM)


def know(door: Doorway, way: str) -> None:
    """The machine publishes its host keys only where they are known by that."""
    if way == "guest attributes":
        return
    door.vm.metadata["enable-guest-attributes"] = "FALSE"
    name, line = f"compute.{door.vm.id}", door.sshd.host_keys[0]
    if way == "our pin":
        add_pin(door.machines.state.pins, name, parse_keys([line])[0])
    else:
        (door.home / ".ssh" / "google_compute_known_hosts").write_text(f"{name} {line}\n")
