"""``python -m remote_runtime.demo DIR [OPTIONS]``: the demo machine, in the foreground.

``--no-external-address``: it is reached through Identity-Aware Proxy's relay alone. ``--no-instance``: it exists when a
client has created it. ``--exhausted-zone=ZONE``: that zone has no capacity.

Ends at SIGTERM, SIGINT, a POST of ``{}`` to the ``shutdown`` of DIR/machine.json, or when that file vanishes: exit 0,
with DIR removed. Exit 1: it could not be started, or died.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

NO_ADDRESS, NO_INSTANCE, EXHAUSTED = "--no-external-address", "--no-instance", "--exhausted-zone="


def main(arguments: list[str]) -> int:
    directory, options = arguments[:1], arguments[1:]
    exhausted = [option[len(EXHAUSTED) :] for option in options if option.startswith(EXHAUSTED)]
    unknown = [each for each in options if each not in (NO_ADDRESS, NO_INSTANCE) and not each.startswith(EXHAUSTED)]
    if unknown or not directory or directory[0].startswith("-"):
        return _fail(f"usage: python -m remote_runtime.demo DIR [{NO_ADDRESS}] [{NO_INSTANCE}] [{EXHAUSTED}ZONE]", 2)
    from . import machine

    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of a client that has left
    ended = threading.Event()
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: ended.set())
    try:
        plan = machine.MachinePlan(NO_INSTANCE not in options, NO_ADDRESS not in options, tuple(exhausted))
        machine.run(Path(directory[0]), ended, plan)
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
