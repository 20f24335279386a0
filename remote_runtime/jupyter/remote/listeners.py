"""Finds the processes that listen on a TCP port of this machine, with their users and addresses."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from dataclasses import dataclass

from . import processes

LISTEN = "0A"  # the kernel's TCP_LISTEN, include/net/tcp_states.h


@dataclass(frozen=True)
class ListeningProcess:
    """``pid``: 0 when unknown. ``user``: the user id, None where the system does not report it (Windows). ``address``:
    as the socket is bound, ``*`` and ``::`` for all addresses."""

    pid: int
    user: int | None
    address: str


def find_listeners(port: int) -> list[ListeningProcess]:
    """Sorted by address; empty if no process listens there."""
    if processes.LINUX:
        found = _from_proc(port)
    elif os.name == "nt":
        found = parse_netstat(_output("netstat", "-ano", "-p", "TCP"), port)
    else:
        found = parse_lsof(_output("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-FpunL"))
    return sorted(found, key=lambda listener: listener.address)


def _output(*command: str) -> str:
    return processes.run(*command).stdout.decode("utf-8", "replace")


def _from_proc(port: int) -> list[ListeningProcess]:
    """See proc(5), /proc/net/tcp. Addresses are 32-bit words in this machine's byte order."""
    sockets = []
    for table, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        with contextlib.suppress(FileNotFoundError), open(table, encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if len(fields) > 9 and fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.append((fields[9], int(fields[7]), _address(family, fields[1].rpartition(":")[0])))
    owners = _owners({inode for inode, _, _ in sockets})
    return [ListeningProcess(owners.get(inode, 0), user, address) for inode, user, address in sockets]


def _owners(inodes: set[str]) -> dict[str, int]:
    """Inode → the process that holds this socket; those of other users are not visible."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[str, int] = {}
    for name in os.listdir("/proc") if wanted else []:
        if name.isdigit():
            with contextlib.suppress(OSError):
                for descriptor in os.listdir(f"/proc/{name}/fd"):
                    with contextlib.suppress(OSError):
                        inode = wanted.get(os.readlink(f"/proc/{name}/fd/{descriptor}"))
                        if inode:
                            # Children may have inherited the server's socket; the server has the lowest pid.
                            owners[inode] = min(owners.get(inode, int(name)), int(name))
    return owners


def _address(family: socket.AddressFamily, words: str) -> str:
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    return "*" if packed == bytes(4) else socket.inet_ntop(family, packed)


def parse_lsof(output: str) -> list[ListeningProcess]:
    """One field per line: p and u begin a process (pid and user id), n is an address such as ``127.0.0.1:8888``."""
    found, pid, user = [], 0, -1
    for line in output.splitlines():
        if line[:1] == "p":
            pid = int(line[1:])
        elif line[:1] == "u":
            user = int(line[1:])
        elif line[:1] == "n":
            found.append(ListeningProcess(pid, user, line[1:].rpartition(":")[0].strip("[]")))
    return found


def parse_netstat(output: str, port: int) -> list[ListeningProcess]:
    """Lines of protocol, local address, foreign address, state (in the system's language), pid."""
    found = []
    for line in output.splitlines():
        matched = re.fullmatch(r"\s*TCP\s+(\S+):(\d+)\s+(?:0\.0\.0\.0|\[::\]):0\s+\S+\s+(\d+)\s*", line)
        if matched and int(matched.group(2)) == port:
            address = matched.group(1).strip("[]")
            found.append(ListeningProcess(int(matched.group(3)), None, "*" if address == "0.0.0.0" else address))  # noqa: S104  # compared, not bound
    return found
