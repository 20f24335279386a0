"""What another user of the machine hears of cells, on the Jupyters of ``scripts/matrix``: he subscribes to every port
and every unix socket that the system shows him. In the last line kernels listen on TCP: there is something to hear."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from remote_runtime.core.profile import JupyterSettings
from scripts.stacks import matrix, venvs
from tests.support.clients.eavesdropper import eavesdropper
from tests.support.environment import network
from tests.support.machines.machine_with_kernel import SECRETS, machine_with_a_kernel

TCP = ("--KernelManager.transport=tcp",)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak kernel-ports", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="ROW", help="rows of scripts/matrix --list (default: all)")
    asked = parser.parse_args(arguments)
    rows = [row for row in matrix.ROWS if row.name in (asked.names or [row.name])]
    pythons = {}
    for row in rows:
        try:
            pythons[row.name] = venvs.ensure(row.name, row.python, row.packages)
        except venvs.Unavailable as why:
            sys.stdout.write(f"{row.name:16} not run: {why}\n")
    network.leave()
    results = [_run(row.name, pythons[row.name]) == set() for row in rows if row.name in pythons]
    can_hear = _run("on TCP ports", Path(sys.executable), TCP) == set(SECRETS)
    return 0 if can_hear and all(results) and len(results) == len(rows) else 1


def _run(name: str, python: Path, args: tuple[str, ...] = ()) -> set[str]:
    """The secrets that were received."""
    with tempfile.TemporaryDirectory(prefix="rr-") as folder:
        files = [Path(folder, "first"), Path(folder, "second")]
        settings = JupyterSettings(python=str(python), args=args)
        with machine_with_a_kernel(Path(folder, "home"), settings) as kernel:
            for file in files:
                with eavesdropper(file):
                    kernel.run_secrets()
                    kernel.restart()
            sockets = len(list(kernel.runtime_folder.glob("kernel-*-ipc-*")))
        said = b"".join(file.read_bytes() for file in files)
    places = said.partition(b" places")[0].rpartition(b"\n")[2].decode(errors="replace")
    heard = {secret for secret in SECRETS if secret.encode() in said}
    sys.stdout.write(
        f"{name:16} {sockets} sockets of the kernel; {places} places tried; received: {sorted(heard) or 'nothing'}\n"
    )
    sys.stdout.flush()
    return heard
