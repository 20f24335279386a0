"""The table of faults, with autossh and ssh beside it where autossh is installed."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.support.environment import network
from tests.support.environment.lan import Traveller, lan
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.link_faults import (
    HEAD,
    INTERVALS,
    KEEPALIVE_S,
    Survivor,
    faults_of_the_link,
    faults_of_the_machine,
    port_taken_meanwhile,
)
from tests.support.machines.gce_vm import cloud_machine
from tests.support.servers.echo_servers import Target
from tests.support.servers.sshd import Sshd, running_sshd

MOST_S = 60.0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak faults", description=__doc__)
    parser.add_argument("--gone", type=float, default=5.0, metavar="SECONDS", help="how long the machine is gone")
    gone_s = parser.parse_args(arguments).gone
    tell(f"keep-alive every {KEEPALIVE_S:.0f} s, dead after {INTERVALS}\n{HEAD}")
    with tempfile.TemporaryDirectory(prefix="rr-") as home, cloud_machine(world := World(Path(home))) as vm:
        survivor = Survivor(world, vm)
        for fault in (*faults_of_the_link(survivor), *faults_of_the_machine(survivor, gone_s=gone_s)):
            row = fault()
            tell(str(row))
            if not row.kept:
                survivor.set_variable()
        tell(str(port_taken_meanwhile(survivor)))
        memory = world.keeper("vm").memory_info().rss
        tell(f"the keeper after all of it: {memory / 1e6:.0f} MB")
    in_real_networks()
    if shutil.which("autossh") is None:
        tell("autossh is not installed: no comparison")
        return 0
    compare()
    return 0


def in_real_networks() -> None:
    if not network.leave():
        tell("no faults of a real network: only root on Linux can make one")
        return
    with tempfile.TemporaryDirectory(prefix="rr-") as home, lan(Path(home) / "far") as far:
        traveller = Traveller(world := World(Path(home)), far)
        tell(str(traveller.packets_vanish()))
        tell(str(traveller.another_network()))
        world.end()


def compare() -> None:
    """autossh -M 0 with the same keep-alives; it forwards to a plain HTTP server."""
    tell("\nautossh -M 0 -N -L, ServerAliveInterval 1, ServerAliveCountMax 3: URL works after")
    faults: list[tuple[str, Callable[[Sshd], object], Callable[[Sshd], object] | None]] = [
        ("the connection is reset", lambda sshd: sshd.cut(), None),
        ("the connection is ended (FIN)", lambda sshd: sshd.end_cleanly(), None),
        ("silence: nothing passes, no reset", lambda sshd: sshd.freeze(), lambda sshd: sshd.resume()),
        ("sshd is stopped (SIGSTOP)", lambda sshd: sshd.signal(signal.SIGSTOP), None),
        ("sshd is killed", lambda sshd: sshd.signal(signal.SIGKILL), None),
    ]
    for name, begin, end in faults:
        with (
            tempfile.TemporaryDirectory(prefix="rr-") as home,
            running_sshd(Path(home)) as sshd,
            Target(answer) as target,
            autossh(sshd, target.address[1], Path(home)) as (_, port),
        ):
            eventually(partial(works, port), within_s=MOST_S)
            began = time.monotonic()
            begin(sshd)
            if end is not None:  # as long as remote-runtime needs to notice
                time.sleep(INTERVALS * KEEPALIVE_S)
                end(sshd)
                began = time.monotonic()
            time.sleep(0.5)  # so that it is not the old connection that answers once more
            try:
                eventually(partial(works, port), within_s=MOST_S)
                tell(f"{name:<44} {'':>9} {time.monotonic() - began:>9.1f} s")
            except AssertionError:
                tell(f"{name:<44} {'':>9}   not within {MOST_S:.0f} s")
            sshd.signal(signal.SIGCONT)


@contextlib.contextmanager
def autossh(sshd: Sshd, target: int, home: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Its process, and the local port that forwards to this port of the machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    options = ["ServerAliveInterval=1", f"ServerAliveCountMax={INTERVALS}", "StrictHostKeyChecking=no"]
    options += [f"UserKnownHostsFile={home}/known", "ExitOnForwardFailure=yes", f"IdentityFile={sshd.key_path}"]
    words = ["autossh", "-M", "0", "-N", "-L", f"127.0.0.1:{port}:{sshd.address}:{target}", "-p", str(sshd.port)]
    words += [word for option in options for word in ("-o", option)]
    process = subprocess.Popen(
        [*words, f"{sshd.user}@{sshd.address}"],
        env={**os.environ, "AUTOSSH_GATETIME": "0", "AUTOSSH_POLL": "5"},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait(10)


def works(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def answer(connection: socket.socket) -> None:
    asked = b""
    while not asked.endswith(b"\r\n\r\n"):
        more = connection.recv(4096)
        if not more:
            return
        asked += more
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
