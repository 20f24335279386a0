"""Processes and ports of ``scripts/bench tunnel``."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

# Program: the Debian package that has it.
NETWORK_TOOLS = {"ssh": "openssh-client", "sshd": "openssh-server", "unshare": "util-linux", "ip": "iproute2"}
LOAD_TOOLS = {**NETWORK_TOOLS, "wrk": "wrk", "nginx": "nginx-light", "iperf3": "iperf3", "ab": "apache2-utils"}
DEAD_LINK_TOOLS = {**NETWORK_TOOLS, "autossh": "autossh"}
_END_WITHIN_S = 20.0  # Jupyter ends its kernels first
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def missing_tools(tools: Mapping[str, str]) -> dict[str, str]:
    """Those of ``tools`` that are not on this computer, with their Debian packages."""
    path = f"{SBIN}:/usr/local/bin:/usr/bin:/bin"
    return {tool: package for tool, package in tools.items() if shutil.which(tool, path=path) is None}


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"scripts.benchmarks.{name}", *arguments]


@contextlib.contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """With the first line that it prints."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ended(process):
        if process.stdout is None:
            raise ValueError("it was started with a pipe")
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[0]} has ended: {' '.join(command)}")
        yield process, line


@contextlib.contextmanager
def ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    """Afterwards it has: at the end of its input if it reads that, else by a signal."""
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        else:
            process.terminate()
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, address: str = "127.0.0.1", within_s: float = 15) -> None:
    end = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection((address, port)).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return
