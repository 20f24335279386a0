"""Outputs of closed pages: a cell that prints for a minute after its tab was closed, also in an outage, or with the
client killed in one; a cell that prints 2 GB, and how Jupyter's memory and the disk grow."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support.clients.output_reader import (
    Tab,
    ask,
    open_tab,
    read_outputs,
    start_kernel,
    stream_text,
    wait_for_text,
)
from tests.support.clients.stream_client import StreamClient
from tests.support.servers.jupyter import JupyterServer

MB = 1 << 20
KERNEL_BYTES = 200 * MB
LINE_INTERVAL_S = 0.05
MAX_GROWTH_BYTES = 1000 * MB  # in messages of 0.2 s; without a record Jupyter keeps all that is printed


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak outputs", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long a cell prints (default: 60)")
    parser.add_argument("--megabytes", type=int, default=2000, help="how much a cell prints (default: 2000)")
    asked = parser.parse_args(arguments)
    lines = int(asked.seconds / LINE_INTERVAL_S)
    ways: dict[str, Callable[[StreamClient, Tab], None]] = {
        "tab closed": lambda client, tab: tab.close(),
        "tab closed in an outage": _close_in_an_outage,
        "client killed in an outage": _kill_in_an_outage,
        "client gone in silence": lambda client, tab: client.cut(silently=True),
    }
    with tempfile.TemporaryDirectory() as directory:
        config = {"RemoteRuntimeBridge": {"outputs_dir": f"{directory}/outputs"}}
        with JupyterServer(extra_config=config) as server:
            results = [_count_lines(server, name, way, lines) for name, way in ways.items()]
            results.append(_flood(server, Path(directory) / "outputs", asked.megabytes))
    return 0 if all(results) else 1


def _close_in_an_outage(client: StreamClient, tab: Tab) -> None:
    client.cut()
    tab.close()
    time.sleep(5)
    client.attach()


def _kill_in_an_outage(client: StreamClient, tab: Tab) -> None:
    client.cut()
    time.sleep(5)
    client.vanish()


def _count_lines(server: JupyterServer, name: str, leave: Callable[[StreamClient, Tab], None], lines: int) -> bool:
    """Whether each line is in the page or in the record, once; the last one before it left may be in both."""
    code = (
        f"import time\nfor n in range({lines}):\n    print('line', n, flush=True)\n    time.sleep({LINE_INTERVAL_S})\n"
    )
    kernel = start_kernel(server)
    with StreamClient(server.port, server.token) as client, open_tab(server, kernel, port=client.port) as tab:
        tab.begin(code + "print('all')")
        tab.receive_text("line 20\n")
        leave(client, tab)
        time.sleep(lines * LINE_INTERVAL_S)
        client.vanish()
        tab.receive_rest()
        if name == "client gone in silence":
            client.end_session()
        messages = wait_for_text(server, kernel, "all\n", within_s=60)
    received, recorded = (
        [int(number) for number in re.findall(r"^line (\d+)$", stream_text(each), re.MULTILINE)]
        for each in (tab.received, messages)
    )
    both = sorted(set(received) & set(recorded))
    is_complete = sorted({*received, *recorded}) == list(range(lines)) and recorded == sorted(set(recorded))
    _say(f"{name:28} {len(received)} lines in the page, {len(recorded)} in the record, {len(both)} in both")
    return is_complete and both in ([], received[-1:])


def _flood(server: JupyterServer, directory: Path, megabytes: int) -> bool:
    code = f"import time; time.sleep(1)\nfor n in range({megabytes}):\n    print('x' * {MB})\nprint('end', flush=True)"
    kernel, process = start_kernel(server), psutil.Process(server.pid)
    with open_tab(server, kernel) as tab:
        tab.begin(code)
        tab.receive_until(lambda message: message["msg_type"] == "execute_input")
    before = process.memory_info().rss
    began, memory, disk = time.monotonic(), [before], [0]
    while not _has_ended(server, kernel):
        memory.append(process.memory_info().rss)
        disk.append(sum(path.stat().st_size for path in directory.iterdir()))
        time.sleep(0.2)
    cut = read_outputs(server, kernel)[0]["kernels"][0]["cut"]
    grown = max(memory) - before
    _say(
        f"{megabytes} MB printed in {time.monotonic() - began:.0f} s: Jupyter grew by {grown / MB:.0f} MB at most, "
        f"{max(disk) / MB:.0f} MB on disk; cut: {cut['messages']} messages, {cut['bytes'] / MB:.0f} MB, {cut['why']}"
    )
    return grown < MAX_GROWTH_BYTES and max(disk) < 1.1 * KERNEL_BYTES


def _has_ended(server: JupyterServer, kernel: str) -> bool:
    return bool(ask(server, "GET", f"/api/kernels/{kernel}")["execution_state"] == "idle")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
