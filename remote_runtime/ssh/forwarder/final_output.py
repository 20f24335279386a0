"""What the machine had said before its connection died: a client that reads slowly gets it first, and then the end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from ...tunnel.relay import untaken, wait_until_taken
from .client import Client

WITHIN_S = 5.0
_MOST = 64
_places = threading.BoundedSemaphore(_MOST)


def part(client: Client, rest: bytes, *, whole: bool) -> None:
    """Part with a client that is to get ``rest``, elsewhere if that takes time. ``whole``: the machine had ended it
    itself; else the client sees a reset."""
    with contextlib.suppress(OSError):  # it has left
        if (rest or untaken(client.sock)) and _places.acquire(blocking=False):
            threading.Thread(target=_deliver, args=(client, rest, whole), daemon=True, name="tail").start()
            return
    client.reset()


def _deliver(client: Client, rest: bytes, whole: bool) -> None:
    try:
        until = time.monotonic() + WITHIN_S
        left = memoryview(rest)
        while left:
            client.sock.settimeout(max(0.01, until - time.monotonic()))
            left = left[client.sock.send(left) :]
        client.guest.carries(0, len(rest))
        if whole:
            client.sock.shutdown(socket.SHUT_WR)
        wait_until_taken(client.sock)
    except OSError:
        whole = False
    finally:
        _places.release()
    if whole:
        client.close()
    else:
        client.reset()
