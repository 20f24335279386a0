"""The tunnels that are compared: each is a process that leads local ports to the same targets over the same sshd."""

from __future__ import annotations

import contextlib
import getpass
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from .tunnel_machine import JUPYTER, KINDS, LOOPBACK
from .tunnel_process import ended, free_port, module, running, wait_for_port

OURS = "ours"
CHANNELS = "a channel for each connection"
SSH = "ssh -N -L"
SESSION = "ssh with a session"
AES_GCM = "ssh with a session, aes128-gcm"
SSHTUNNEL = "sshtunnel"
ASYNCSSH = "asyncssh"
DIRECT = "direct"


@dataclass(frozen=True)
class Place:
    """Where the machine's sshd is, all ports, and the folder with the key that it accepts. The other ports are on the
    machine's loopback."""

    address: str
    ports: dict[str, int]
    home: Path

    @property
    def key(self) -> Path:
        return self.home / "client"

    @property
    def jupyter(self) -> Path:
        """See ``tunnel_machine``."""
        return self.home / JUPYTER


@dataclass(frozen=True)
class Tunnel:
    """``ports``: of each kind of target at ``address``. ``process``: what moves the bytes, None for no tunnel."""

    name: str
    ports: dict[str, int]
    process: psutil.Process | None = None
    address: str = LOOPBACK

    def connection_count(self, port: int) -> int:
        """How many connections to this port it has, such as to the sshd's."""
        connections = self.process.net_connections("tcp") if self.process is not None else []
        return sum(bool(each.raddr) and each.raddr.port == port for each in connections)

    def cpu_s(self) -> float:
        if self.process is None:
            return 0.0
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        return 0.0 if self.process is None else float(self.process.memory_info().rss) / 1e6


Opener = Callable[[Place], contextlib.AbstractContextManager[Tunnel]]


def openssh(name: str, *more: str) -> Opener:
    """``more``: options, and a command for a session that ends with its input; ``-N`` for none."""

    @contextlib.contextmanager
    def opened(place: Place) -> Iterator[Tunnel]:
        ports = {kind: free_port() for kind in KINDS}
        leads = {port: place.ports[kind] for kind, port in ports.items()}
        stdin = subprocess.DEVNULL if "-N" in more else subprocess.PIPE
        process = subprocess.Popen(ssh_command(place, leads, *more), stdin=stdin)
        with ended(process):
            wait_for_port(ports[KINDS[-1]])  # the last one that it binds; iperf3 minds visitors that say nothing
            yield Tunnel(name, ports, psutil.Process(process.pid))

    return opened


def ssh_command(place: Place, leads: dict[int, int], *more: str) -> list[str]:
    options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-q"]
    before, command = [word for word in more if word.startswith("-")], [w for w in more if not w.startswith("-")]
    forwards = [word for port, end in leads.items() for word in ("-L", f"{LOOPBACK}:{port}:{LOOPBACK}:{end}")]
    where = ["-p", str(place.ports["ssh"]), "-i", str(place.key), f"{getpass.getuser()}@{place.address}"]
    return ["ssh", *options, *before, *forwards, *where, *command]


def process(name: str, command: Callable[[Place], list[str]]) -> Opener:
    """One that prints the local ports of ``KINDS``, and ends with its standard input."""

    @contextlib.contextmanager
    def opened(place: Place) -> Iterator[Tunnel]:
        with running([*command(place), *(str(place.ports[kind]) for kind in KINDS)]) as (started, line):
            ports = dict(zip(KINDS, map(int, line.split()), strict=True))
            yield Tunnel(name, ports, psutil.Process(started.pid))

    return opened


@contextlib.contextmanager
def direct(place: Place) -> Iterator[Tunnel]:
    yield Tunnel(DIRECT, place.ports)


def _arguments(place: Place) -> tuple[str, ...]:
    return place.address, str(place.ports["ssh"]), getpass.getuser(), str(place.key)


_SSHTUNNEL = """
import sys, sshtunnel
address, port, user, key, *ends = sys.argv[1:]
with sshtunnel.open_tunnel((address, int(port)), ssh_username=user, ssh_pkey=key,
    ssh_config_file=None, allow_agent=False, host_pkey_directories=[],
    remote_bind_addresses=[('127.0.0.1', int(end)) for end in ends],
    local_bind_addresses=[('127.0.0.1', 0) for end in ends]) as tunnel:
    print(*tunnel.local_bind_ports, flush=True)
    sys.stdin.read()
"""
_ASYNCSSH = """
import asyncio, sys, asyncssh
async def main(address, port, user, key, *ends):
    async with asyncssh.connect(address, int(port), username=user, client_keys=[key], known_hosts=None,
                                config=None, agent_path=None) as link:
        opened = [await link.forward_local_port('127.0.0.1', 0, '127.0.0.1', int(end)) for end in ends]
        print(*(listener.get_port() for listener in opened), flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main(*sys.argv[1:]))
"""
ALL: dict[str, Opener] = {
    OURS: process(OURS, lambda place: module("tunnel_ours", *_arguments(place), "streams", str(place.jupyter))),
    CHANNELS: process(
        CHANNELS, lambda place: module("tunnel_ours", *_arguments(place), "channels", str(place.jupyter))
    ),
    SSH: openssh(SSH, "-N"),
    SESSION: openssh(SESSION, "cat"),
    AES_GCM: openssh(AES_GCM, "-caes128-gcm@openssh.com", "cat"),
    SSHTUNNEL: process(SSHTUNNEL, lambda place: [sys.executable, "-c", _SSHTUNNEL, *_arguments(place)]),
    ASYNCSSH: process(ASYNCSSH, lambda place: [sys.executable, "-c", _ASYNCSSH, *_arguments(place)]),
    DIRECT: direct,
}
