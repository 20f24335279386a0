"""``scripts/soak NAME …`` runs the ``main`` of the module here that has this name, with the arguments that follow."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = (
    "faults",
    "outage",
    "bytes",
    "kernel-ports",
    "kernels",
    "idle-ways",
    "bodies",
    "cluster",
    "copy",
    "cuts",
    "exec",
    "hostile",
    "killed-creations",
    "killed-ups",
    "silent-clients",
    "outputs",
    "patience",
    "servers",
    "spool",
    "ssh-clients",
    "sync",
    "transfers",
)


def main() -> int:
    name, *arguments = sys.argv[1:] or [""]
    if name not in NAMES:
        sys.stderr.write(f"usage: scripts/soak {'|'.join(NAMES)} [--help]\n")
        return 2
    result = import_module(f".{name.replace('-', '_')}", __package__).main(arguments)
    return int(result)


if __name__ == "__main__":
    sys.exit(main())
