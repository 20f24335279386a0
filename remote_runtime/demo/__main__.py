"""``python -m remote_runtime.demo DIR [--no-external-address]``: the demo machine, in the foreground.

Ends at SIGTERM, SIGINT, a POST of ``{}`` to the ``shutdown`` of DIR/machine.json, or when that file vanishes: exit 0,
with DIR removed. Exit 1: it could not be started, or died.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

NO_ADDRESS_OPTION = "--no-external-address"


def main(arguments: list[str]) -> int:
    external = arguments[1:] != [NO_ADDRESS_OPTION]
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-") or (external and len(arguments) == 2):
        return _fail(f"usage: python -m remote_runtime.demo DIR [{NO_ADDRESS_OPTION}]", 2)
    from . import machine

    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of a client that has left
    ended = threading.Event()
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: ended.set())
    try:
        machine.run(Path(arguments[0]), ended, external=external)
    except machine.MachineDied as error:
        return _fail(f"the demo machine ended: {error}", 1)
    except OSError as error:
        return _fail(f"the demo machine could not be started: {error}", 1)
    return 0


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"{message}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
