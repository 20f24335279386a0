"""Another user of the machine, who subscribes to every port and every unix socket that the system shows him.

Linux and root only: it takes another user's number. ``python -m tests.support.clients.eavesdropper`` is the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from ..servers.jupyter import REPOSITORY

NOBODY = 65534
CANARY = b"canary"
LIMIT_S = 20.0


@contextmanager
def eavesdropper(heard: Path) -> Iterator[None]:
    """While the block lasts, everything that can be heard is appended to ``heard``. It listens from the first line
    on, and it can hear: it has heard a publisher on a port by then."""
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.bind_to_random_port("tcp://127.0.0.1")
        heard.touch()
        with heard.open("ab") as file:
            process = subprocess.Popen([sys.executable, "-m", __name__], cwd=REPOSITORY, stdout=file)
        try:
            until = time.monotonic() + LIMIT_S
            while CANARY not in heard.read_bytes():
                assert process.poll() is None, "the eavesdropper ended"
                assert time.monotonic() < until, "the eavesdropper hears nothing"
                publisher.send(CANARY)
                time.sleep(0.05)
            yield
        finally:
            process.kill()
            process.wait()


def main() -> None:
    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    assert not os.access("/root", os.R_OK)
    places = [*(f"tcp://127.0.0.1:{port}" for port in _ports()), *(f"ipc://{path}" for path in _sockets())]
    listener.subscribe(b"")
    for place in places:
        listener.connect(place)
    os.write(1, f"{len(places)} places\n".encode())
    while True:
        os.write(1, b" ".join(listener.recv_multipart()) + b"\n")


def _ports() -> set[int]:
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == "0A"}


def _sockets() -> set[str]:
    paths = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {path for path in paths if path.startswith(("/", "@"))}


if __name__ == "__main__":
    main()
