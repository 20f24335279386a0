"""How much memory requests with large bodies cost the server, from who has no token, on the Jupyters of
``scripts/matrix``: 4 connections of each kind, 200 MiB each. The last line has one kind and no bridge."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from scripts.stacks import matrix, venvs
from tests.support.faults.endless_body import MIB, Flood
from tests.support.servers.jupyter import COLAB_ORIGIN, JupyterServer

BODY_BYTES = 200 * MIB
CONNECTIONS = 4
MOST_BYTES = 100 * MIB
KINDS: tuple[Mapping[str, str], ...] = (
    {"Content-Length": str(BODY_BYTES)},
    {"Content-Length": str(BODY_BYTES), "Origin": "https://evil.example"},
    {"Content-Length": str(BODY_BYTES), "Origin": COLAB_ORIGIN},
    {"Transfer-Encoding": "chunked"},
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak bodies", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="ROW", help="rows of scripts/matrix --list (default: all)")
    asked = parser.parse_args(arguments)
    rows = [row for row in matrix.ROWS if row.name in (asked.names or [row.name])]
    grown = []
    for row in rows:
        try:
            python = venvs.ensure(row.name, row.python, row.packages)
        except venvs.Unavailable as why:
            sys.stdout.write(f"{row.name:16} not run: {why}\n")
            continue
        grown.append(_run(row.name, python, is_classic=row.classic, bridge=True))
    without = _run("without bridge", Path(sys.executable), is_classic=False, bridge=False)
    return 0 if without > MOST_BYTES and len(grown) == len(rows) and max(grown) < MOST_BYTES else 1


def _run(name: str, python: Path, *, is_classic: bool, bridge: bool) -> int:
    """By how many bytes the server grew at most."""
    with JupyterServer(python=str(python), classic=is_classic, bridge=bridge) as server:
        process = psutil.Process(server.pid)
        before = peak = process.memory_info().rss
        threads = [
            threading.Thread(target=_send, args=(server.port, kind))
            for kind in (KINDS if bridge else KINDS[:1])
            for _ in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.02)
    sys.stdout.write(f"{name:16} {before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB at most\n")
    sys.stdout.flush()
    return int(peak - before)


def _send(port: int, headers: Mapping[str, str]) -> None:
    with Flood(port, "POST /api/contents/x", headers) as flood:
        flood.send(BODY_BYTES - MIB)
