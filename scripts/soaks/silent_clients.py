"""Thousands of idle connections of another program to the local port, while the owner runs cells on one WebSocket."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.exceptions import WebSocketException

from tests.support.clients.page import Page, execute
from tests.support.environment.world import World
from tests.support.faults.faults import ssh_host

WAYS = {
    "idle": "",
    "slow": "s.sendall(b'GET /api HTTP/1.1\\r\\nHost: loc')",
    "answered": "s.sendall(b'GET /api HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'); s.recv(4096)",
    "half-closed": "s.shutdown(socket.SHUT_WR)",
}
CROWD = """
import resource, socket, sys, time
port, number = int(sys.argv[1]), int(sys.argv[2])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, number + 100), hard))
crowd = []
for _ in range(number):
    try:
        s = socket.create_connection(("127.0.0.1", port), timeout=20)
        {do}
        crowd.append(s)
    except OSError:
        pass
print(len(crowd), flush=True)
sys.stdin.read()
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak silent-clients", description=__doc__)
    parser.add_argument("--number", type=int, default=9500)
    parser.add_argument("--way", choices=WAYS, nargs="*", default=["idle", "slow", "half-closed"])
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they stay")
    given = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < given.number + 100:
        tell(f"only {hard} files may be open here (ulimit -Hn)")
        return 2
    worst = 0
    with tempfile.TemporaryDirectory(prefix="rr-") as home, ssh_host(world := World(Path(home))):
        page = Page(world.up("box"))
        kernel = page.start_kernel()
        for way in given.way:
            worst |= visit(world, page, kernel, way, WAYS[way], given.number, given.seconds)
    return worst


def visit(world: World, page: Page, kernel: str, way: str, do: str, number: int, seconds: float) -> int:
    log_before = len(world.log("box"))
    port = page.host.rpartition(":")[2]
    with page.channels(kernel) as channels:
        execute(channels, "kept = 0")
        with subprocess.Popen(
            [sys.executable, "-c", CROWD.replace("{do}", do or "pass"), port, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as crowd:
            until, cells, requests, refused = time.monotonic() + seconds, [], [], 0
            while time.monotonic() < until or crowd.poll() is not None:
                began = time.monotonic()
                try:
                    execute(channels, "kept += 1")
                except (OSError, EOFError, WebSocketException) as error:
                    tell(f"{way}: the kernel's WebSocket ended: {error!r}")
                    crowd.kill()
                    return 1
                cells.append(time.monotonic() - began)
                began = time.monotonic()
                try:
                    page.ask("GET", "/api/kernels", within_s=10.0)
                    requests.append(time.monotonic() - began)
                except OSError:
                    refused += 1
                time.sleep(2.0)
            crowd.kill()
        log = len(world.log("box")) - log_before
    tell(
        f"{way:<12} {number} connections: {len(cells)} cells, slowest {1000 * max(cells):.0f} ms; "
        f"{len(requests)} requests, slowest {1000 * max(requests, default=0.0):.0f} ms, {refused} refused; "
        f"log {log / 1000:.1f} kB; reconnects {world.file('box')['reconnects']}"
    )
    return int(refused > 0 or log > 100_000)


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
