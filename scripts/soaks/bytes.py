"""Many connections of any size, pace and end through one tunnel while keys are renewed: no byte may be wrong, and the
process that holds the tunnel must not grow."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from scripts.benchmarks.tunnel_machine import KINDS
from tests.support.servers.asyncssh_server import running_asyncssh
from tests.support.servers.echo_servers import Target
from tests.support.servers.sshd import running_sshd

from .faults import tell

WITHIN_S = 120.0
SIZES = (0, 1, 100, 4_000, 65_537, 700_000, 5_000_000, 30_000_000)
PIECE = 1 << 16


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak bytes", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="to send, and to get back")
    parser.add_argument("--server", choices=("openssh", "asyncssh"), default="openssh")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="rr-") as home,
        server(asked.server, Path(home, "sshd")) as sshd,
        Target(echo) as target,
        holder(sshd, target.address[1]) as (process, port),
    ):
        return soak(asked, psutil.Process(process.pid), port)


def soak(asked: Any, process: psutil.Process, port: int) -> int:
    run = Run(int(asked.gigabytes * 1e9), port)
    threads = [threading.Thread(target=run.live, args=(asked.seed * 1000 + n,)) for n in range(asked.clients)]
    began, weights = time.monotonic(), [(0, process.memory_info().rss)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(5)
        weights.append((run.moved, process.memory_info().rss))
        tell(f"{run.moved / 1e9:6.2f} GB, {run.connections} connections, {weights[-1][1] / 1e6:.1f} MB")
    tell(
        f"{asked.server}: {run.moved / 1e9:.2f} GB each way in {time.monotonic() - began:.0f} s, "
        f"{run.connections} connections ({run.resets} reset by their client), {len(run.wrong)} wrong"
    )
    half = [weight for moved, weight in weights if moved > run.moved / 2] or [weights[-1][1]]
    first, last = weights[0][1], weights[-1][1]
    tell(f"the process: {first / 1e6:.1f} MB first, {half[0] / 1e6:.1f} half way, {last / 1e6:.1f} last")
    for line in run.wrong[:20]:
        tell(line)
    return 1 if run.wrong else 0


class Run:
    """What the clients do together. ``moved``: bytes that came back as they were sent."""

    def __init__(self, wanted: int, port: int) -> None:
        self.moved = self.connections = self.resets = 0
        self.wrong: list[str] = []
        self._wanted = wanted
        self._port = port
        self._lock = threading.Lock()

    def live(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  # data to compare
        while self.moved < self._wanted and not self.wrong:
            size = chance.choice(SIZES)
            data = chance.randbytes(size)
            how = chance.choice(("whole", "whole", "whole", "slow", "reset"))
            try:
                self._exchange(chance, data, how)
            except OSError as error:
                self.wrong.append(f"seed {seed}: {size} bytes, {how}: {error!r}")

    def _exchange(self, chance: random.Random, data: bytes, how: str) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=WITHIN_S) as client:
            sender = threading.Thread(target=_send, args=(client, data))
            sender.start()
            came = hashlib.sha256()
            count = 0
            stops_at = chance.randrange(len(data) + 1) if how == "reset" else None
            while stops_at is None or count < stops_at:
                piece = client.recv(PIECE)
                if not piece:
                    break
                count += len(piece)
                came.update(piece)
                if how == "slow" and chance.random() < 0.02:
                    time.sleep(chance.random() * 0.05)
            if how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError):  # all of it may have come
                    client.shutdown(socket.SHUT_RDWR)  # the sender wakes up
                client.close()
            sender.join(WITHIN_S)
        with self._lock:
            self.connections += 1
            if how == "reset":
                self.resets += 1
            elif came.digest() != hashlib.sha256(data).digest():
                self.wrong.append(f"{len(data)} bytes were sent, {count} came back, and not the same")
            else:
                self.moved += count


def _send(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # it was reset meanwhile
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)


def echo(connection: socket.socket) -> None:
    connection.settimeout(WITHIN_S)
    while data := connection.recv(1 << 18):
        connection.sendall(data)


@contextlib.contextmanager
def server(kind: str, directory: Path) -> Iterator[Any]:
    running: Any = running_asyncssh(directory) if kind == "asyncssh" else None
    with running or running_sshd(directory, config=["RekeyLimit 16M"]) as sshd:
        yield sshd


@contextlib.contextmanager
def holder(sshd: Any, target: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The tunnel in a process of its own, and its local port."""
    where = [sshd.address, str(sshd.port), sshd.user, str(sshd.key_path), *[str(target)] * len(KINDS)]
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.benchmarks.tunnel_ours", *where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise ValueError("it was started with a pipe")
        yield process, int(process.stdout.readline().split()[-1])
    finally:
        process.communicate(timeout=30)
