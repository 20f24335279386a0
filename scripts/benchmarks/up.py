"""``scripts/bench up``: how soon `up` gives the URL of a VM that runs with a healthy server, beside gcloud.

One Compute Engine emulator, one OpenSSH server, one Jupyter. In turn: `remote-runtime up` after `down --keep-server`,
until the URL is on stdout; and `gcloud compute ssh -- -L`, its key and host keys known already, until the first
byte comes through its forward. Once with an API that answers at once, once with one that takes 100 ms for each answer.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.environment.world import World
from tests.support.machines.gce_vm import NAME, PROJECT, ZONE, CloudMachine, cloud_machine

from . import table

GOAL = 0.5
WITHIN_S = 60.0
Taken = dict[float, tuple[list[float], list[float]]]
"""Seconds that an API answer takes → remote-runtime's and gcloud's, one value a round."""
LATENCIES_S = (0.0, 0.1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench up", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="at least 5 for figures to be shown (default: 5)")
    asked = parser.parse_args(arguments)
    if shutil.which("gcloud") is None:
        sys.stderr.write("error: gcloud not found: `up` is measured beside it\n")
        sys.stderr.write("fix: install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install\n")
        return table.CANNOT_RUN
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        with cloud_machine(world, status="RUNNING") as vm:
            taken = _measure(world, vm, asked.rounds)
    return _report(taken)


def _measure(world: World, vm: CloudMachine, rounds: int) -> Taken:
    with vm.emulator.cloud.changed:  # gcloud would add it, and wait for SSH on port 22 then
        key = vm.sshd.key_path.with_suffix(".pub").read_text().strip()
        vm.emulator.cloud.project_metadata[PROJECT]["ssh-keys"] = f"{vm.sshd.user}:{key}"
    world.up("vm")
    target = world.look("vm")["forwards"][0]["remote"]
    ways: tuple[Callable[[], float], ...] = (lambda: _up_s(world), lambda: _gcloud_s(world, vm, target))
    for way in ways:  # keys and host keys are learned, files are read once
        way()
    taken: Taken = {latency_s: ([], []) for latency_s in LATENCIES_S}
    for number in range(rounds):
        sys.stderr.write(f"Round {number + 1} of {rounds}\n")
        for latency_s, values in taken.items():
            vm.emulator.latency_s = latency_s
            for index in (0, 1) if number % 2 else (1, 0):
                values[index].append(ways[index]())
    vm.emulator.latency_s = 0.0
    return taken


def _up_s(world: World) -> float:
    world.run("down", "vm", "--keep-server")
    began = time.monotonic()
    command = world.start("up", "vm")
    line = command.stdout.readline() if command.stdout else ""
    took = time.monotonic() - began
    _, complaints = command.communicate(timeout=WITHIN_S)
    if not line.startswith("http://localhost:"):
        raise RuntimeError(complaints)
    return took


def _gcloud_s(world: World, vm: CloudMachine, target: str) -> float:
    world.run("down", "vm", "--keep-server")  # only Jupyter runs beside it
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [
        *("gcloud", "compute", "ssh", f"{vm.sshd.user}@{NAME}", f"--zone={ZONE}", f"--project={PROJECT}"),
        f"--ssh-key-file={vm.sshd.key_path}",
        *("--", "-N", "-p", str(vm.sshd.port), "-L", f"{port}:{target}"),
    ]
    environ = {
        **world.environ,
        "CLOUDSDK_CONFIG": str(world.home / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    }
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() - began > WITHIN_S:
                raise RuntimeError(f"gcloud forwards nothing: {process.communicate(timeout=5)[1]}")
            time.sleep(0.005)
        return time.monotonic() - began
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /api HTTP/1.0\r\n\r\n")
            return bool(client.recv(1))
    except OSError:
        return False


def _report(taken: Taken) -> int:
    rows = [
        table.Row(f"Seconds to the URL, {1000 * latency_s:.0f} ms an answer; gcloud", *values, GOAL)
        for latency_s, values in taken.items()
    ]
    version = subprocess.run(["gcloud", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    sys.stdout.write(f"{table.table(rows)}\n\n{version}. {table.machine()}\n")
    return 0 if all(row.is_met for row in rows) else 1
