"""Local connections that are forwarded: accepted, silent, and closed.

Chromium opens connections ahead of requests, and before it asks for permission. Any program on this computer can open
any number: a client of Jupyter's gets a channel with its first request, and the oldest silent ones are closed when
there are too many.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...core.errors import RemoteRuntimeError
from ...tunnel.protocols import ConnectionHandler
from ...tunnel.relay import reset, unacknowledged_bytes, wait_until_acknowledged
from ...tunnel.silent_connections import MAX_HEAD_BYTES, is_request_complete
from .loop import Loop

DELIVERY_TIMEOUT_S = 5.0
_free_threads = threading.BoundedSemaphore(64)


@dataclass(eq=False)
class Client:
    """``sock``: connected, non-blocking, owned here until it is returned to the ``handler``."""

    sock: socket.socket
    handler: ConnectionHandler
    has_sent: bool = False

    def is_silent(self) -> bool:
        return not self.has_sent and self.sock.fileno() >= 0

    def on_first_bytes(self, first_byte: bytes) -> bool:
        """Returns False if the client must not be served."""
        self.has_sent = self.handler.on_first_bytes(first_byte)
        return self.has_sent

    def close(self) -> None:
        self.sock.close()
        self.handler.on_closed()

    def reset(self) -> None:
        """Close it with a TCP reset."""
        reset(self.sock)
        self.handler.on_closed()

    def shut_down(self) -> None:
        """Shut the socket down, so that the connection that serves it sees EOF."""
        with contextlib.suppress(OSError):  # it is closed already
            self.sock.shutdown(socket.SHUT_RDWR)

    def return_with_error(self, error: RemoteRuntimeError) -> None:
        """Return the socket to the handler: nothing was read from it."""
        self.handler.on_refused(self.sock, error)


class SilentClients:
    """Used in the loop's thread. ``assign`` is called with each client whose request is complete."""

    def __init__(self, loop: Loop, assign: Callable[[Client], None]) -> None:
        self._loop = loop
        self._assign = assign
        self._clients: dict[Client, None] = {}  # the oldest first

    def add(self, client: Client) -> None:
        self._clients[client] = None
        self._loop.watch(client.sock, 0, selectors.EVENT_READ, lambda events: self._check(client))
        if len(self._clients) > self._loop.max_silent:
            oldest = next(iter(self._clients))
            self._remove(oldest)
            oldest.handler.on_over_limit(files=False)
            oldest.reset()
        else:
            self._check(client)

    def reset_all(self) -> None:
        """Reset all clients."""
        for client in list(self._clients):
            self._remove(client)
            client.reset()

    def _check(self, client: Client) -> None:
        """Pass the client on if its request is complete, close it if it has left or must not be served."""
        try:
            received = client.sock.recv(MAX_HEAD_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            received = b""
        if received and client.handler.on_first_bytes(received[:1]):
            if not is_request_complete(client.sock, received):
                return
            self._remove(client)
            self._assign(client)
        else:
            self._remove(client)
            client.close()

    def _remove(self, client: Client) -> None:
        del self._clients[client]
        self._loop.watch(client.sock, selectors.EVENT_READ, 0, lambda events: None)


def close_after_sending(client: Client, rest: bytes, *, eof: bool) -> None:
    """Send ``rest``, in a thread if that takes time, and close the client. ``eof``: the server has ended the connection
    itself, so the client sees EOF; else it sees a reset."""
    with contextlib.suppress(OSError):  # the client has left
        if (rest or unacknowledged_bytes(client.sock)) and _free_threads.acquire(blocking=False):
            threading.Thread(target=_send_and_close, args=(client, rest, eof), daemon=True, name="final output").start()
            return
    client.reset()


def _send_and_close(client: Client, rest: bytes, eof: bool) -> None:
    try:
        until = time.monotonic() + DELIVERY_TIMEOUT_S
        left = memoryview(rest)
        while left:
            client.sock.settimeout(max(0.01, until - time.monotonic()))
            left = left[client.sock.send(left) :]
        client.handler.on_transfer(0, len(rest))
        if eof:
            client.sock.shutdown(socket.SHUT_WR)
        wait_until_acknowledged(client.sock)
    except OSError:
        eof = False
    finally:
        _free_threads.release()
    if eof:
        client.close()
    else:
        client.reset()
