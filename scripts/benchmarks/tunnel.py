"""``scripts/bench tunnel``: our tunnel beside OpenSSH's and sshtunnel's, in alternating rounds of one run.

All lead to the same targets over one sshd on loopback, directly or through a link with delay (``tunnel_delay``). Each
candidate is its own process. Prints the medians with their spread, and for each candidate the ratio to `ssh -N -L`.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator

from . import table
from . import tunnel_candidates as candidates
from . import tunnel_loads as loads
from .tunnel_candidates import Tunnel

REFERENCE = "ssh -N -L"
STREAM_BYTES = 256 << 20
LINK_MB_S = 125.0
AES_GCM = "aes128-gcm@openssh.com"
Values = dict[str, dict[str, list[float]]]
Measure = Callable[[Tunnel], dict[str, float]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench tunnel", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("loopback", "delay"), help="one part of it")
    options = parser.parse_args(arguments)
    versions = table.versions(("paramiko", "cryptography", "sshtunnel"))
    say(f"{table.machine()}; {versions}; {_openssh_version()}")
    with candidates.targets() as ends, candidates.machine() as machine:
        for name, delay_ms, measure in (
            ("loopback", 0.0, on_loopback),
            ("delay", 50.0, at_50_ms),
            ("delay", 100.0, at_100_ms),
        ):
            if options.only in (None, name):
                with _link(machine.port, delay_ms) as port, _all(machine, port, ends) as tunnels:
                    _show(f"{name} {delay_ms:g} ms".replace(" 0 ms", ""), _rounds(tunnels, measure, options.rounds))
    return 0


def on_loopback(tunnel: Tunnel) -> dict[str, float]:
    ports = tunnel.ports
    before = tunnel.cpu_s()
    down = loads.download_mb_s(ports["pour"], STREAM_BYTES)
    middle = tunnel.cpu_s()
    up = loads.upload_mb_s(ports["drain"], STREAM_BYTES)
    after = tunnel.cpu_s()
    gb = STREAM_BYTES / 1e9
    gets = loads.gets_ms(ports["http"], 50)
    beside, _ = loads.echoes_beside_a_download(ports["echo"], ports["pour"], count=1000, warm_up_s=0.3)
    return {
        "down MB/s": down,
        "up MB/s": up,
        "down CPU s/GB": (middle - before) / gb,
        "up CPU s/GB": (after - middle) / gb,
        "GET ms p50": statistics.median(gets),
        "GETs/s, 16 at once": loads.gets_a_second(ports["http"], 16, 1.5),
        "echo beside a download ms p50": statistics.median(beside),
        "echo beside a download ms p99": loads.percentile(beside, 99),
    }


def at_50_ms(tunnel: Tunnel) -> dict[str, float]:
    ports = tunnel.ports
    idle = loads.echoes_ms(ports["echo"], 10)
    beside, rate = loads.echoes_beside_a_download(ports["echo"], ports["pour"], count=40, warm_up_s=3.0)
    return {
        "GET ms p50": statistics.median(loads.gets_ms(ports["http"], 10)),
        "GETs/s, 16 at once": loads.gets_a_second(ports["http"], 16, 3.0),
        "echo idle ms p50": statistics.median(idle),
        "echo beside a download ms p50": statistics.median(beside),
        "that download MB/s": rate,
    }


def at_100_ms(tunnel: Tunnel) -> dict[str, float]:
    return {
        "down MB/s": loads.download_mb_s(tunnel.ports["pour"], 128 << 20),
        "up MB/s": loads.upload_mb_s(tunnel.ports["drain"], 64 << 20),
    }


@contextlib.contextmanager
def _link(port: int, round_trip_ms: float) -> Iterator[int]:
    if not round_trip_ms:
        yield port
        return
    with candidates.delayed(port, round_trip_ms / 2, LINK_MB_S) as delayed:
        yield delayed


@contextlib.contextmanager
def _all(machine: candidates.Machine, port: int, ends: dict[str, int]) -> Iterator[list[Tunnel]]:
    with contextlib.ExitStack() as stack:
        tunnels = [
            candidates.openssh(REFERENCE, machine, port, ends, "-N"),
            candidates.openssh("ssh with a session", machine, port, ends, "sleep 100000"),
            candidates.openssh(
                "ssh with a session, aes128-gcm", machine, port, ends, "-caes128-gcm@openssh.com", "sleep 100000"
            ),
            candidates.sshtunnel(machine, port, ends),
            candidates.ours(machine, port, ends),
        ]
        opened = [stack.enter_context(tunnel) for tunnel in tunnels]
        yield [*opened, Tunnel("direct", ends)] if port == machine.port else opened


def _rounds(tunnels: list[Tunnel], measure: Measure, rounds: int) -> Values:
    values: Values = {}
    for _ in range(rounds):
        for tunnel in tunnels:
            for name, value in measure(tunnel).items():
                values.setdefault(name, {}).setdefault(tunnel.name, []).append(value)
    return values


def _show(title: str, values: Values) -> None:
    names = list(next(iter(values.values())))
    rows = [[title, *names], ["---"] * (len(names) + 1)]
    for what, by_name in values.items():
        reference = by_name[REFERENCE]
        rows.append(
            [what, *(f"{table.spread(by_name[name])} ×{table.ratio(by_name[name], reference):.2f}"
                     if statistics.median(reference) else table.spread(by_name[name]) for name in names)]
        )  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
    for row in rows:
        say("| " + " | ".join(map(str.ljust, row, widths)) + " |")
    say("")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _openssh_version() -> str:
    return subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
