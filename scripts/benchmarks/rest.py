"""``scripts/bench rest``: what an unused runtime costs.

A runtime of an SSH host is running, with a real sshd; no page connects. Counted meanwhile: context switches, processor
time and memory of the keeper, of the Jupyter server and of the idle watchdog; beside them `ssh -N -L` to the same
server, and a Jupyter server without the bridge.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.environment.usage import Usage, measure
from tests.support.environment.world import World
from tests.support.faults.faults import know
from tests.support.servers.sshd import Sshd, running_sshd

from . import table
from .tunnel_process import ended, free_port, wait_for_port

# Each for a minute at rest.
MAX_KEEPER_SWITCHES, MAX_OTHER_SWITCHES = 60.0, 10.0
MAX_KEEPER_CPU_S, MAX_KEEPER_MB = 0.03, 42.0
KEEPER, SERVER, PLAIN_SERVER, WATCHDOG, SSH = (
    "keeper",
    "Jupyter with the bridge",
    "Jupyter without it",
    "idle watchdog",
    "ssh -N -L",
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench rest", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to count (default: 10)")
    parser.add_argument("--settle-s", type=float, default=30.0, help="how long to wait before (default: 30)")
    parser.add_argument("--threads", action="store_true", help="also print the switches of each thread")
    asked = parser.parse_args(arguments)
    if not Path("/proc/self/schedstat").exists():
        sys.stderr.write("error: /proc/self/schedstat not found: only Linux counts what is measured here\n")
        return table.CANNOT_RUN
    with tempfile.TemporaryDirectory() as folder, _at_rest(Path(folder)) as pids:
        time.sleep(asked.settle_s)
        usages = measure(pids, 60 * asked.minutes)
    return _report(usages, asked.minutes, threads=asked.threads)


@contextlib.contextmanager
def _at_rest(home: Path) -> Iterator[dict[str, int]]:
    """The processes by their names."""
    world = World(home)
    with contextlib.ExitStack() as stack:
        sshd = stack.enter_context(running_sshd(home / "machine"))
        stack.callback(world.end)
        know(world, sshd)
        world.profile(
            "box",
            f"version: 1\ntarget: {{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}\n"
            f"ssh: {{user: {sshd.user}, identity_file: {sshd.key_path}}}\nidle: {{after: 2h, do: stop-server}}\n",
        )
        world.up("box")
        server = int(world.look("box")["server"]["pid"])
        watchdog = next(int(line.split()[0]) for line in world.running() if line.endswith("/watch.py"))
        yield {
            KEEPER: world.keeper("box").pid,
            SERVER: server,
            PLAIN_SERVER: stack.enter_context(_plain_server(world)),
            WATCHDOG: watchdog,
            SSH: stack.enter_context(_plain_ssh(world, sshd)),
        }


@contextlib.contextmanager
def _plain_server(world: World) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", f"--port={port}", "--allow-root"]
    process = subprocess.Popen(
        command, env=world.environ, cwd=world.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with ended(process):
        wait_for_port(port, within_s=60)
        yield process.pid


@contextlib.contextmanager
def _plain_ssh(world: World, sshd: Sshd) -> Iterator[int]:
    port = free_port()
    command = [
        *("ssh", "-N", "-F", "none", "-i", str(sshd.key_path), "-p", str(sshd.port), "-o", "BatchMode=yes"),
        *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={world.home}/known", "-o", "LogLevel=ERROR"),
        *("-o", "ServerAliveInterval=10", "-L", f"{port}:127.0.0.1:9", f"{sshd.user}@127.0.0.1"),
    ]
    process = subprocess.Popen(command, env=world.environ, stdin=subprocess.DEVNULL)
    with ended(process):
        wait_for_port(port)
        yield process.pid


def _report(usages: dict[str, Usage], minutes: float, *, threads: bool) -> int:
    head = ("", "switches a minute", "involuntary of them", "CPU a minute, s", "RSS, MB", "PSS, MB")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, usage in usages.items():
        counts = (usage.switches / minutes, usage.involuntary / minutes, usage.cpu_s / minutes)
        numbers = (*counts, usage.rss_mb, usage.pss_mb)
        lines.append(f"| {name} | {' | '.join(f'{number:.3g}' for number in numbers)} |")
        if threads:
            lines += [f"    {thread}: {count / minutes:.3g}" for thread, count in usage.by_thread.items()]
    sys.stdout.write("\n".join(lines) + f"\n\nOver {minutes:g} minutes. {table.machine()}\n")
    missed = list(_missed(usages, minutes))
    for each in missed:
        sys.stdout.write(f"MISSED: {each}\n")
    return 1 if missed else 0


def _missed(usages: dict[str, Usage], minutes: float) -> Iterator[str]:
    keeper = usages[KEEPER]
    bridge_switches = usages[SERVER].switches - usages[PLAIN_SERVER].switches
    for name, value, limit in (
        ("switches of the keeper a minute", keeper.switches / minutes, MAX_KEEPER_SWITCHES),
        ("the keeper's CPU a minute, s", keeper.cpu_s / minutes, MAX_KEEPER_CPU_S),
        ("the keeper's memory, MB", keeper.rss_mb, MAX_KEEPER_MB),
        ("switches of the bridge a minute", bridge_switches / minutes, MAX_OTHER_SWITCHES),
        ("switches of the watchdog a minute", usages[WATCHDOG].switches / minutes, MAX_OTHER_SWITCHES),
    ):
        if value > limit:
            yield f"{name}: {value:.3g}, goal {limit:g}"
