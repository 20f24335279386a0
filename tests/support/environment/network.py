"""A network of its own for the process that runs tests: no port is another's, and nothing outside is reached.

Tests run several at a time, and what they test takes the first free port from 8888 on, keeps it in mind while it is
down, and expects that nobody answers at ports it has closed. Linux and root only; elsewhere they share the network.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_OWN = "/proc/thread-self/ns/net"
_outside: list[int] = []


def leave() -> bool:
    """Move this thread, and all that it starts from now on, into a new network that has a loopback only."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    outside = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    if ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
        os.close(outside)
        return False
    import fcntl

    _outside.append(outside)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    return True


@contextmanager
def swallowing(address: str, port: int) -> Iterator[None]:
    """Nothing comes back from there, as through a firewall that drops: the queue of a listener that takes nobody is
    full, and the kernel forgets who comes after that."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=0), socket.create_connection((address, port)):
        yield


def switch_ipv6(*, on: bool) -> None:
    """Whether this network's loopback has ::1, as with a VPN that takes IPv6 away while it lasts."""
    with open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "w", encoding="ascii") as switch:
        switch.write("0" if on else "1")


@contextmanager
def outside() -> Iterator[None]:
    """Back in the network that was left, for what needs the package registry."""
    if not _outside:
        yield
        return
    with _within(_outside[0]):
        yield


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """In the network of this process: sockets that are made, threads and processes that are begun here stay there."""
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _within(there):
            yield
    finally:
        os.close(there)


@contextmanager
def _within(network: int) -> Iterator[None]:
    inside = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(network)
        yield
    finally:
        _enter(inside)
        os.close(inside)


def _enter(network: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(network, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
