"""The tunnels that are compared: each is a process that leads local ports to the same targets over the same sshd."""

from __future__ import annotations

import contextlib
import getpass
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

KINDS = ("pour", "drain", "echo", "http")
SSHD = "/usr/sbin/sshd"


@dataclass(frozen=True)
class Tunnel:
    """``ports``: the local port of each kind of target. ``process``: what moves the bytes, None for no tunnel."""

    name: str
    ports: dict[str, int]
    process: psutil.Process | None = None

    def cpu_s(self) -> float:
        if self.process is None:
            return 0.0
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Machine:
    """An sshd of our own on ``port``, and the key that it accepts."""

    port: int
    key: Path
    home: Path


@contextlib.contextmanager
def targets() -> Iterator[dict[str, int]]:
    with contextlib.ExitStack() as stack:
        yield {kind: int(stack.enter_context(running(_module("tunnel_target", kind)))[1]) for kind in KINDS}


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        home = Path(name)
        for key in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / key], check=True)
        (home / "authorized").write_text((home / "client.pub").read_text())
        port = free_port()
        options = {
            "HostKey": home / "host", "AuthorizedKeysFile": home / "authorized", "PidFile": "none", "UsePAM": "no",
            "StrictModes": "no", "ListenAddress": "127.0.0.1", "Port": port, "MaxStartups": "1000", "LogLevel": "ERROR",
            "PermitRootLogin": "prohibit-password",
        }  # fmt: skip
        (home / "config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        sshd = subprocess.Popen([SSHD, "-D", "-f", home / "config"])
        stack.callback(_end, sshd)
        wait_for_port(port)
        yield Machine(port, home / "client", home)


@contextlib.contextmanager
def delayed(port: int, one_way_ms: float, mb_s: float) -> Iterator[int]:
    with running(_module("tunnel_delay", str(port), str(one_way_ms), str(mb_s))) as (_, line):
        yield int(line)


@contextlib.contextmanager
def openssh(name: str, machine: Machine, ssh_port: int, ends: dict[str, int], *more: str) -> Iterator[Tunnel]:
    """``more``: options, and a command for a session; ``-N`` for none."""
    ports = {kind: free_port() for kind in ends}
    leads = [word for kind, port in ports.items() for word in ("-L", f"127.0.0.1:{port}:127.0.0.1:{ends[kind]}")]
    options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-q"]
    where = ["-p", str(ssh_port), "-i", str(machine.key), *leads]
    before, command = [word for word in more if word.startswith("-")], [w for w in more if not w.startswith("-")]
    words = ["ssh", *options, *before, *where, f"{getpass.getuser()}@127.0.0.1", *command]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        for port in ports.values():
            wait_for_port(port)
        yield Tunnel(name, ports, psutil.Process(process.pid))
    finally:
        _end(process)


@contextlib.contextmanager
def ours(machine: Machine, ssh_port: int, ends: dict[str, int]) -> Iterator[Tunnel]:
    words = [f"ready:{port}" if kind == "http" else str(port) for kind, port in ends.items()]
    command = _module("tunnel_ours", str(ssh_port), getpass.getuser(), str(machine.key), *words)
    with running(command) as (process, line):
        yield Tunnel("ours", dict(zip(ends, map(int, line.split()), strict=True)), psutil.Process(process.pid))


@contextlib.contextmanager
def sshtunnel(machine: Machine, ssh_port: int, ends: dict[str, int]) -> Iterator[Tunnel]:
    code = (
        "import sys, sshtunnel\n"
        "port, user, key, *ends = sys.argv[1:]\n"
        "with sshtunnel.open_tunnel(('127.0.0.1', int(port)), ssh_username=user, ssh_pkey=key,\n"
        "    ssh_config_file=None, allow_agent=False, host_pkey_directories=[],\n"
        "    remote_bind_addresses=[('127.0.0.1', int(end)) for end in ends],\n"
        "    local_bind_addresses=[('127.0.0.1', 0) for end in ends]) as tunnel:\n"
        "    print(*tunnel.local_bind_ports, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(ssh_port), getpass.getuser(), str(machine.key), *map(str, ends.values())]
    with running(command) as (process, line):
        yield Tunnel("sshtunnel", dict(zip(ends, map(int, line.split()), strict=True)), psutil.Process(process.pid))


@contextlib.contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """With the first line that it prints."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise ValueError("it was started with a pipe")
        yield process, process.stdout.readline()
    finally:
        _end(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    end = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"scripts.benchmarks.{name}", *arguments]


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(10)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
