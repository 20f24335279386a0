"""Machines in one network: each has an address, a host name and an SSH server of its own. Linux and root only.

They share the processes and files of this computer, so that a test sees what is left on them; each has another HOME.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.support.servers.sshd import Sshd

from . import network
from .world import World

_NETWORK = "10.79.0"
_BRIDGE = "machines"


class Machine:
    """``holder``: the process that keeps its network."""

    def __init__(self, name: str, address: str, holder: int, directory: Path) -> None:
        self.name, self.address, self.holder = name, address, holder
        own_class = type("MachineSshd", (Sshd,), {"address": address})
        with network.network_of(holder):
            self.sshd: Sshd = own_class(directory, within=("nsenter", f"--uts=/proc/{holder}/ns/uts"))

    def profile(self, extra: str = "") -> str:
        sshd = self.sshd
        return (
            f"version: 1\ntarget: {{kind: ssh, host: {self.address}, port: {sshd.port}}}\n"
            f"ssh: {{user: {sshd.user}, identity_file: {sshd.key_path}}}\n{extra}"
        )

    def folders(self) -> list[Path]:
        """What remote-runtime has on it."""
        root = self.sshd.home / ".local/share/remote-runtime"
        return list(root.rglob("*")) if root.exists() else []

    def listeners(self) -> list[tuple[str, int, str]]:
        """Address, port and command line of each TCP listener, except the SSH server's."""
        with network.network_of(self.holder):
            listed = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True).stdout
        found = []
        for line in listed.splitlines():
            host, _, port = line.split()[3].rpartition(":")
            pid = re.search(r"pid=(\d+)", line)
            command = " ".join(psutil.Process(int(pid[1])).cmdline()) if pid else ""
            found.append((host.strip("[]"), int(port), command))
        return [each for each in found if each[1] != self.sshd.port]

    @contextlib.contextmanager
    def unplugged(self) -> Iterator[None]:
        """Its network card is down."""
        with network.network_of(self.holder):
            _ip("link", "set", "inside", "down")
        try:
            yield
        finally:
            with network.network_of(self.holder):
                _ip("link", "set", "inside", "up")


@contextlib.contextmanager
def machines(directory: Path, names: Sequence[str]) -> Iterator[list[Machine]]:
    """They reach each other, and this computer reaches them."""
    with ExitStack() as stack:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "delete", _BRIDGE)
        _ip("address", "add", f"{_NETWORK}.1/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        made = []
        for number, name in enumerate(names, 2):
            holder = stack.enter_context(_holder(name))
            link = f"link{number}"
            _ip("link", "add", link, "type", "veth", "peer", "inside", "netns", str(holder))
            _ip("link", "set", link, "master", _BRIDGE, "up")
            with network.network_of(holder):
                _ip("address", "add", f"{_NETWORK}.{number}/24", "dev", "inside")
                _ip("link", "set", "inside", "up")
                _ip("link", "set", "lo", "up")
            machine = Machine(name, f"{_NETWORK}.{number}", holder, directory / name)
            stack.callback(machine.sshd.stop)
            made.append(machine)
        yield made


def know_all(world: World, known: Sequence[Machine]) -> None:
    """The person at this computer has been there before."""
    (world.home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    lines = [f"[{each.address}]:{each.sshd.port} {key}\n" for each in known for key in each.sshd.host_keys]
    (world.home / ".ssh" / "known_hosts").write_text("".join(lines))


@contextlib.contextmanager
def _holder(name: str) -> Iterator[int]:
    command = ["unshare", "--net", "--uts", "sh", "-c", 'hostname "$0"; echo; exec cat', name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        if holder.stdout is not None:
            holder.stdout.readline()
        yield holder.pid


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
