"""``scripts/bench bridge``: what the bridge costs and gains, in alternating rounds of one run.

This bridge on the current Jupyter, the same server directly, upstream's jupyter_http_over_ws on the newest stack
on which it runs, and a server without a bridge for the time of a cell. One client for all: aiohttp, one WebSocket for
any number of bridged requests, kept connections for direct ones, orjson and pybase64 for decoding.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import psutil

from scripts.stacks import venvs
from tests.support.servers.jupyter import JupyterServer

from . import clients, table

BIG_FILE = "/files/big.bin"
CONTENT = bytes(range(250)) * 400_000
GROWTH_GOAL_MB = 32
UPSTREAM = (
    "jupyter_http_over_ws==0.0.8",
    "notebook==6.4.12",
    "jupyter_server<2",
    "jupyter_client<8",
    "ipykernel<7",
    "tornado==6.4.2",
    "traitlets<5.10",
)
VERSIONS = ("jupyter_server", "tornado", "ipykernel", "aiohttp")
QUIET = {"ServerApp": {"log_level": 30}}
GETS = (
    ("/api/kernels", 1, 200),
    ("/api/kernels", 16, 480),
    ("/api/kernelspecs", 1, 100),
    ("/api/kernelspecs", 16, 240),
)
GOALS = {1: 1.1, 16: 1.3}


@dataclass
class Subject:
    """A running server and what was measured on it: values by name, one a round."""

    server: JupyterServer
    is_bridged: bool
    channels: str = ""
    get: dict[str, clients.Get] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    refusal: str = ""

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench bridge", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="at least 5 for figures to be shown (default: 5)")
    asked = parser.parse_args(arguments)
    try:
        upstream_python = venvs.ensure("upstream", "3.10", UPSTREAM)
    except venvs.Unavailable as reason:
        sys.stderr.write(f"error: jupyter_http_over_ws needs Python 3.10 with packages of its time: {reason}\n")
        sys.stderr.write("fix: install Python 3.10, for example with `uv python install 3.10` or pyenv\n")
        return table.CANNOT_RUN
    with (
        JupyterServer(extra_config=QUIET) as ours,
        JupyterServer(extra_config=QUIET, bridge=False) as stock,
        JupyterServer(
            python=str(upstream_python),
            classic=True,
            bridge=False,
            extensions=("jupyter_http_over_ws",),
            extra_config=QUIET,
        ) as upstream,
    ):
        for server in (ours, upstream):
            (server.root_dir / "big.bin").write_bytes(CONTENT)
        subjects = Subject(ours, True), Subject(stock, False), Subject(upstream, True)
        asyncio.run(_measure(subjects, asked.rounds))
    return _report(*subjects)


async def _measure(subjects: tuple[Subject, Subject, Subject], rounds: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for subject in subjects:
            await stack.enter_async_context(_opened(subject))
        for number in range(rounds):
            sys.stderr.write(f"Round {number + 1} of {rounds}\n")
            for subject in subjects if number % 2 else reversed(subjects):
                await _measure_gets(subject, swap=bool(number % 2))
                await _measure_kernel(subject, swap=bool(number % 2))
            await _measure_download(subjects[0])
        subjects[2].refusal = await _download_refusal(subjects[2])


@contextlib.asynccontextmanager
async def _opened(subject: Subject) -> AsyncIterator[None]:
    where = subject.server.base, subject.server.token
    async with contextlib.AsyncExitStack() as stack:
        subject.channels = await stack.enter_async_context(clients.kernel(*where))
        subject.get["direct"] = await stack.enter_async_context(clients.direct(*where))
        if subject.is_bridged:
            subject.get["bridge"] = await stack.enter_async_context(clients.bridged(*where))
        yield


async def _measure_gets(subject: Subject, *, swap: bool) -> None:
    if subject.is_bridged:
        for path, at_once, count in GETS:
            for way, get in sorted(subject.get.items(), reverse=swap):
                taken = await clients.latencies_s(partial(get, path), count=count, at_once=at_once)
                subject.add(f"{way} {path} {at_once}", statistics.median(taken) * 1000)


async def _measure_kernel(subject: Subject, *, swap: bool) -> None:
    for way in sorted(("bridge", "direct"), reverse=swap) if subject.is_bridged else ("direct",):
        where = subject.server.base, subject.server.token, subject.channels
        async with clients.channels(*where, through_bridge=way == "bridge") as channels:
            for name, work in (("kernel", channels.ask_info), ("cell", channels.run_cell)):
                subject.add(f"{way} {name}", statistics.median(await clients.latencies_s(work, count=40)) * 1000)


async def _measure_download(ours: Subject) -> None:
    for way in ("direct", "bridge"):
        taken, growth_bytes = await _watching_memory(ours.server.pid, partial(ours.get[way], BIG_FILE))
        ours.add(f"{way} download", len(CONTENT) / 1e6 / taken)
        ours.add(f"{way} growth", growth_bytes / 1e6)


async def _download_refusal(upstream: Subject) -> str:
    try:
        return f"{len(await upstream.get['bridge'](BIG_FILE))} bytes came"
    except RuntimeError as refused:
        return str(refused)


async def _watching_memory(pid: int, work: Callable[[], Awaitable[bytes]]) -> tuple[float, int]:
    """How long it took, and how far the process's resident memory grew meanwhile."""
    process = psutil.Process(pid)
    before = peak = process.memory_info().rss
    body = asyncio.ensure_future(work())
    timed = asyncio.ensure_future(clients.seconds(lambda: body))
    while not timed.done():
        peak = max(peak, process.memory_info().rss)
        await asyncio.wait([timed], timeout=0.02)
    if await body != CONTENT:
        raise RuntimeError("what came is not what was sent")
    return await timed, peak - before


def _report(ours: Subject, stock: Subject, upstream: Subject) -> int:
    rows = []
    for path, at_once, _ in GETS:
        names = f"bridge {path} {at_once}", f"direct {path} {at_once}"
        title = f"GET {path}, {at_once} at once, ms; direct"
        theirs = upstream.values[names[0]], upstream.values[names[1]]
        rows.append(table.Row(title, ours.values[names[0]], ours.values[names[1]], GOALS[at_once], theirs))
    kernels = [(each.values["bridge kernel"], each.values["direct kernel"]) for each in (ours, upstream)]
    rows.append(table.Row("Kernel's answer through proxied_ws, ms; direct", *kernels[0], 1.05, kernels[1]))
    for way in ("bridge", "direct"):
        cells = ours.values[f"{way} cell"], stock.values["direct cell"]
        theirs = upstream.values[f"{way} cell"], upstream.values["direct cell"]
        title = "through proxied_ws" if way == "bridge" else "directly"
        rows.append(table.Row(f"Cell print(1) {title}, ms; stock server", *cells, 0.25, theirs))
    downloads = ours.values["bridge download"], ours.values["direct download"]
    rows.append(table.Row("100 MB of /files/, MB/s; direct", *downloads, 0.3, upstream.refusal, at_least=True))
    growth = max(ours.values["bridge growth"])
    sys.stdout.write(
        f"{table.table(rows)}\n\n"
        f"The server grew by at most {growth:.1f} MB during a download (goal: < {GROWTH_GOAL_MB} MB).\n"
        f"remote-runtime: {table.versions(VERSIONS)}. Upstream: {', '.join(UPSTREAM)}.\n{table.machine()}\n"
    )
    return 0 if all(row.is_met for row in rows) and growth < GROWTH_GOAL_MB else 1
