"""``scripts/bench NAME …`` runs the ``main`` of the module here that has this name, with the arguments that follow.

Without a name all of them run, one after the other. A benchmark returns 0 if its goals are met, 1 if not, and
``CANNOT_RUN`` where this computer lacks what it needs, which it has printed.
"""

from __future__ import annotations

import sys
from importlib import import_module

from .table import CANNOT_RUN

NAMES = ("bridge", "copy", "iap", "rest", "tunnel", "up", "zones")


def main() -> int:
    name, *arguments = sys.argv[1:] or [""]
    if name in NAMES:
        return _run(name, arguments)
    if name:
        sys.stderr.write(f"usage: scripts/bench [{'|'.join(NAMES)}] [--help]\n")
        return 2
    results = {}
    for each in NAMES:
        sys.stderr.write(f"== {each}\n")
        results[each] = _run(each, [])
    if skipped := [each for each, status in results.items() if status == CANNOT_RUN]:
        sys.stderr.write(f"Skipped: {', '.join(skipped)}\n")
    return max((status for status in results.values() if status != CANNOT_RUN), default=CANNOT_RUN)


def _run(name: str, arguments: list[str]) -> int:
    return int(import_module(f".{name}", __package__).main(arguments))


if __name__ == "__main__":
    sys.exit(main())
