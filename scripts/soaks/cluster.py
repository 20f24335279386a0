"""A Dask cluster whose workers are killed and cut off, and whose scheduler and background process are killed."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support.clients.page import Page
from tests.support.environment import network
from tests.support.environment.machines import Machine, know_all, machines
from tests.support.environment.processes import commands_of
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World

LIMIT_S = 300.0
NOTICED_S = 45.0  # the timeout of Dask for a dead connection is 30 s
TASKS = 200
CONNECT = """
import socket, time
from distributed import Client
client = Client()
def where(number):
    time.sleep(0.1)
    return number * number, socket.gethostname()
"""
BEGIN = f"futures = client.map(where, range({TASKS}), pure=False)"
END = """
found = client.gather(futures)
print(sum(number for number, _ in found), len({host for _, host in found}))
"""
MOVE_BYTES = """
names = list(client.scheduler_info()["workers"])
parts = [client.submit(bytes, 1000 + number, workers=[name], pure=False) for number, name in enumerate(names)]
whole = client.submit(lambda parts: sum(map(len, parts)), parts, workers=names[:1], pure=False).result()
received = client.run(lambda dask_worker: len(dask_worker.transfer_incoming_log))
print(whole - 1000 * len(names) == sum(range(len(names))), max(received.values()) >= len(names) - 1 or received)
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak cluster", description=__doc__)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--away-s", type=float, default=60.0, help="how long a worker's machine is cut off")
    given = parser.parse_args(arguments)
    if not network.leave():
        raise SystemExit("requires Linux and root")
    names = tuple(f"worker-{number}" for number in range(given.workers))
    with tempfile.TemporaryDirectory(prefix="rr-") as home:
        world = World(Path(home))
        with machines(Path(home) / "machines", ("head", *names)) as made:
            try:
                return ClusterSoak(world, made, given.away_s).run()
            finally:
                world.end()


class ClusterSoak:
    def __init__(self, world: World, made: list[Machine], away_s: float) -> None:
        self.world, self.away_s = world, away_s
        self.head, *self.workers = made
        know_all(world, made)
        named = ", ".join(f"{{profile: {each.name}}}" for each in self.workers)
        cluster = f"cluster:\n  workers: [{named}]\n  threads: 1\n  memory: 500MB\n"
        world.profile("head", self.head.profile(cluster))
        for each in self.workers:
            world.profile(each.name, each.profile())
        self.failures = 0

    def run(self) -> int:
        began = time.monotonic()
        self.page = Page(self.world.up("head", "--workers", str(len(self.workers))))
        self.kernel = self.page.start_kernel()
        self.page.run(self.kernel, CONNECT)
        memory_mb = self.world.keeper("head").memory_info().rss / 1e6
        tell(f"{len(self.workers)} workers joined after {time.monotonic() - began:.1f} s; "
             f"the background process has {memory_mb:.0f} MB")  # fmt: skip
        moved = self.page.run(self.kernel, MOVE_BYTES)
        self.check("bytes move between the workers", moved == "True True", moved)
        self.suffer("nothing happens", lambda: None, loses=False)
        self.suffer("the SSH connection is cut", lambda: self.head.sshd.cut(), loses=False)
        self.suffer("a worker is killed", self.kill_worker, loses=True)
        self.suffer(
            f"a worker's machine is cut off for {self.away_s:.0f} s", self.cut_off, loses=self.away_s > NOTICED_S
        )
        self.kill_scheduler()
        os.kill(self.world.keeper("head").pid, signal.SIGKILL)
        done = self.world.run("down", "head")
        left = [command for each in (self.head, *self.workers) for command in commands_of(each.sshd.home).values()]
        left += [str(path) for each in (self.head, *self.workers) for path in each.folders()]
        self.check("`down` after the background process was killed leaves nothing", not (done.code or left), done.err)
        return int(self.failures > 0)

    def suffer(self, what: str, fault: Callable[[], object], *, loses: bool) -> None:
        """A computation during the fault gives the right number, and all workers are there again afterwards."""
        self.page.run(self.kernel, BEGIN)
        fault()
        if loses:
            eventually(lambda: not self.all_joined(), within_s=LIMIT_S, what=f"{what}: it is noticed")
        began = time.monotonic()
        eventually(self.all_joined, within_s=LIMIT_S, what=f"{what}: all workers are back")
        back_s = time.monotonic() - began
        total, hosts = self.page.run(self.kernel, END).split()
        is_right = int(total) == sum(number * number for number in range(TASKS))
        self.check(f"{what}: all workers after {back_s:.1f} s, tasks on {hosts} machines", is_right, total)

    def kill_worker(self) -> None:
        (pid,) = [pid for pid, text in commands_of(self.workers[0].sshd.home).items() if "dask_worker" in text]
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            process.kill()

    def cut_off(self) -> None:
        with self.workers[-1].unplugged():
            time.sleep(self.away_s)

    def kill_scheduler(self) -> None:
        """Its tasks are lost, as with any scheduler of Dask."""
        (pid,) = [pid for pid, text in commands_of(self.head.sshd.home).items() if "dask_scheduler" in text]
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        eventually(lambda: not self.all_joined(), within_s=LIMIT_S, what="the end of the scheduler is noticed")
        eventually(self.all_joined, within_s=LIMIT_S, what="the scheduler and its workers are back")
        back_s = time.monotonic() - began
        self.page.run(self.kernel, CONNECT)
        self.page.run(self.kernel, BEGIN)
        total, hosts = self.page.run(self.kernel, END).split()
        is_right = int(total) == sum(number * number for number in range(TASKS))
        self.check(f"the scheduler is killed: all workers after {back_s:.1f} s, on {hosts} machines", is_right, total)

    def all_joined(self) -> bool:
        workers = self.world.file("head")["cluster"]["workers"]
        return all(each["state"] == "joined" for each in workers)

    def check(self, what: str, is_right: bool, found: str) -> None:
        self.failures += not is_right
        tell(f"{'ok' if is_right else 'WRONG'}: {what}{'' if is_right else f' ({found})'}")


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
