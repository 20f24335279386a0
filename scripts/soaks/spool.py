"""How much memory the Jupyter server takes for what a kernel prints to a client that does not read, and whether all of
it arrives when the client reads again. Expected: less than 40 MB, everything once and in order."""

from __future__ import annotations

import argparse
import sys

from tests.support.faults.stopped_reader import print_to_stopped_reader, unlimited_server

MAX_GROWN_MB = 40


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak spool", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500, help="what the kernel prints (default: 500)")
    count = parser.parse_args(arguments).megabytes
    with unlimited_server() as server:
        printed = print_to_stopped_reader(server, count, limit_s=3600)
    grown = printed.grown_bytes / 1e6
    is_whole = printed.numbers == list(range(count))
    arrived = (
        "everything arrived once and in order" if is_whole else f"{len(printed.numbers)} pieces of {count} arrived"
    )
    sys.stdout.write(f"{count} MB printed in {printed.printed_s:.0f} s: the server grew by {grown:.0f} MB\n")
    sys.stdout.write(f"read in {printed.read_s:.0f} s: {arrived}\n")
    return 0 if is_whole and grown < MAX_GROWN_MB else 1
