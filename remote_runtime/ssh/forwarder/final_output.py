"""When a connection ends, a client that reads slowly first gets the data that had arrived for it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from ...tunnel.relay import unacknowledged_bytes, wait_until_acknowledged
from .client import Client

DELIVERY_TIMEOUT_S = 5.0
_MAX_THREADS = 64
_free_threads = threading.BoundedSemaphore(_MAX_THREADS)


def close_after_sending(client: Client, rest: bytes, *, whole: bool) -> None:
    """Send ``rest``, in a thread if that takes time, and close the client. ``whole``: the server had ended the
    connection, so the client sees EOF; else it sees a reset."""
    with contextlib.suppress(OSError):  # the client has left
        if (rest or unacknowledged_bytes(client.sock)) and _free_threads.acquire(blocking=False):
            threading.Thread(target=_deliver, args=(client, rest, whole), daemon=True, name="tail").start()
            return
    client.reset()


def _deliver(client: Client, rest: bytes, whole: bool) -> None:
    try:
        until = time.monotonic() + DELIVERY_TIMEOUT_S
        left = memoryview(rest)
        while left:
            client.sock.settimeout(max(0.01, until - time.monotonic()))
            left = left[client.sock.send(left) :]
        client.handler.on_transfer(0, len(rest))
        if whole:
            client.sock.shutdown(socket.SHUT_WR)
        wait_until_acknowledged(client.sock)
    except OSError:
        whole = False
    finally:
        _free_threads.release()
    if whole:
        client.close()
    else:
        client.reset()
