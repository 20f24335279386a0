"""A late greeting, directly and through a ProxyCommand, and an agent that stops: in `up`, and in the reconnect.

With ``timeouts.ssh: 2m`` all of it succeeds."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faults import ssh_host
from tests.support.servers.scripted_server import Doorman, Visit, doorman
from tests.support.servers.sshd import Sshd

MOST_S = 200.0
LIMITS = "timeouts: {ssh: 2m}\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak patience", description=__doc__)
    parser.add_argument("--late", type=float, default=20.0, metavar="SECONDS", help="how late the greeting is")
    late_s = parser.parse_args(arguments).late
    rows = []
    with tempfile.TemporaryDirectory(prefix="rr-") as home:
        world = World(Path(home))
        with ssh_host(world) as sshd:

            def late(visit: Visit) -> None:
                time.sleep(late_s)
                visit.leads_to(sshd.port)

            with doorman(late) as there:
                rows += rounds(world, sshd, f"a greeting after {late_s:.0f} s", lambda: direct(world, sshd, there))
            rows += rounds(world, sshd, f"a ProxyCommand of {late_s:.0f} s", lambda: by_command(world, sshd, late_s))
            rows += agent(world, sshd)
    width = max(len(what) for what, _, _ in rows)
    for what, how, took_s in rows:
        sys.stdout.write(f"{what:{width}}  {how:<9}  {took_s:5.1f} s\n")
    return 0


def rounds(world: World, sshd: Sshd, what: str, prepare: Callable[[], None]) -> list[tuple[str, str, float]]:
    prepare()
    return cycle(world, sshd, what)


def cycle(
    world: World, sshd: Sshd, what: str, meanwhile: Callable[[], None] = lambda: None
) -> list[tuple[str, str, float]]:
    began = time.monotonic()
    done = world.run("up", "far", within_s=MOST_S)
    if done.code != 0:
        raise SystemExit(done.err)
    up_s = time.monotonic() - began
    page = Page(done.out.strip())
    meanwhile()
    began = time.monotonic()
    sshd.cut()
    eventually(lambda: world.file("far")["reconnects"] == 1, within_s=MOST_S, what="a reconnect")
    again_s = time.monotonic() - began
    if page.ask("GET", "/api/kernels", within_s=10)[0] != 200:
        raise SystemExit("the URL does not work")
    world.run("down", "far", "--force", within_s=MOST_S)
    return [(what, "up", up_s), (what, "reconnect", again_s)]


def direct(world: World, sshd: Sshd, there: Doorman) -> None:
    hosts = world.home / ".ssh" / "known_hosts"
    hosts.write_text(
        "".join(f"[127.0.0.1]:{port} {key}\n" for port in (there.port, sshd.port) for key in sshd.host_keys)
    )
    write(world, sshd, f"host: 127.0.0.1, port: {there.port}")


def by_command(world: World, sshd: Sshd, late_s: float) -> None:
    command = f"sh -c 'echo looking >&2; sleep {late_s}; exec socat - TCP:127.0.0.1:{sshd.port}'"
    text = f"Host far\n  HostName 127.0.0.1\n  Port {sshd.port}\n  ProxyCommand {command}\n"
    (world.home / ".ssh" / "config").write_text(text)
    write(world, sshd, "host: far")


def agent(world: World, sshd: Sshd) -> list[tuple[str, str, float]]:
    address = world.home / "agent"
    said = subprocess.run(["ssh-agent", "-s", "-a", str(address)], check=True, capture_output=True, text=True).stdout
    pid = int(re.findall(r"SSH_AGENT_PID=(\d+)", said)[0])
    world.environ["SSH_AUTH_SOCK"] = str(address)
    (world.home / ".ssh" / "config").unlink()
    write(world, sshd, f"host: 127.0.0.1, port: {sshd.port}")
    try:
        return cycle(world, sshd, "an agent that stops after up", lambda: os.kill(pid, signal.SIGSTOP))
    finally:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTERM)


def write(world: World, sshd: Sshd, target: str) -> None:
    keys = f"ssh: {{user: {sshd.user}, identity_file: {sshd.key_path}}}\n"
    world.profile("far", f"version: 1\ntarget: {{kind: ssh, {target}}}\n{keys}{LIMITS}")
