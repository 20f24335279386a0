"""A Dask cluster of three machines, each with an SSH server, an address and a host name of its own."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.clients.page import Page
from tests.support.environment import network
from tests.support.environment.machines import Machine, know_all, machines
from tests.support.environment.processes import commands_of
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World

WORKERS = ("worker-a", "worker-b")
CELL = """
import socket
from distributed import Client
client = Client()
def where(number):
    import time; time.sleep(0.05)
    return number * number, socket.gethostname()
found = client.gather(client.map(where, range(20)))
numbers = client.scatter(list(range(1000)), broadcast=True)
print(sum(number for number, _ in found), sorted({host for _, host in found}),
      client.submit(sum, numbers).result(), len(client.scheduler_info()["workers"]))
"""
COMPUTED = "2470 ['worker-a', 'worker-b'] 499500 2"


@pytest.fixture
def cluster(world: World, tmp_path: Path) -> Iterator[list[Machine]]:
    with machines(tmp_path, ("head", *WORKERS)) as made:
        know_all(world, made)
        head, *workers = made
        named = ", ".join(f"{{profile: {each.name}}}" for each in workers)
        world.profile("head", head.profile(f"cluster:\n  workers: [{named}]\n  threads: 1\n  memory: 500MB\n"))
        for each in workers:
            world.profile(each.name, each.profile())
        yield made
        world.run("down", "head", "--force")


def all_joined(world: World) -> bool:
    return [each["state"] for each in world.file("head")["cluster"]["workers"]] == ["joined"] * len(WORKERS)


def answers(machine: Machine, address: str, port: int) -> bool:
    """Whether a program without the cluster's certificate gets a byte there, over TLS or plain HTTP."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with network.network_of(machine.holder):
        for wrap in (context.wrap_socket, lambda plain: plain):
            try:
                with socket.create_connection((address, port), 2) as plain, wrap(plain) as stream:
                    stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    stream.settimeout(2)
                    if stream.recv(1):
                        return True
            except OSError:
                continue
    return False


def left_on(cluster: list[Machine]) -> list[str]:
    return [command for each in cluster for command in commands_of(each.sshd.home).values() if "dask" in command]


def test_cells_use_all_machines_and_what_is_lost_comes_back(world: World, cluster: list[Machine]) -> None:
    page = Page(world.up("head", "--workers", str(len(WORKERS))))
    kernel = page.start_kernel()
    assert page.run(kernel, CELL) == COMPUTED

    every = [(each, *listener) for each in cluster for listener in each.listeners()]
    listening = [each for each in every if not any(name in each[3] for name in ("ipykernel", "boot.py"))]
    assert len([command for *_, command in listening if "distributed" in command]) >= 3
    for machine, address, port, command in listening:
        caller = machine if address.startswith("127.") else cluster[1]
        reached = address if address.startswith(("10.", "127.")) else machine.address
        assert not answers(caller, reached, port), f"{reached}:{port} of {machine.name}: {command}"

    (ended,) = [pid for pid, command in commands_of(cluster[2].sshd.home).items() if "dask_worker" in command]
    for process in (psutil.Process(ended), *psutil.Process(ended).children(recursive=True)):
        process.kill()
    eventually(lambda: not all_joined(world), within_s=30, what="the loss of the worker is noticed")
    eventually(lambda: all_joined(world), within_s=90, what="the worker is back")
    assert page.run(kernel, CELL.replace("client = Client()", "")) == COMPUTED

    shown = world.run("status", "head").out
    assert "head: 2 of 2 workers joined" in shown

    os.kill(world.keeper("head").pid, signal.SIGKILL)
    done = world.run("down", "head")
    assert done.code == 0, done.err
    assert left_on(cluster) == []
    assert [path for each in cluster for path in each.folders()] == []
