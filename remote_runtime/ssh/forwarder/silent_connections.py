"""Clients that have sent nothing yet. One of Jupyter's gets a channel with its first request.

Chromium opens connections ahead of requests, and before it asks for permission. Any program on this computer can open
any number: the oldest silent ones are closed when there are too many.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from ...tunnel.silent_connections import MAX_HEAD_BYTES, is_request_complete
from .client import Client


class Watcher(Protocol):
    """What the loop does for them."""

    def max_silent(self) -> int:
        """How many connections that say nothing a lane keeps."""

    def watch_readable(self, sock: socket.socket, call: Callable[[int], None]) -> None: ...
    def unwatch(self, sock: socket.socket) -> None: ...


class SilentClients:
    """Used in the loop's thread. ``assign`` is called with each client whose request is complete."""

    def __init__(self, watcher: Watcher, assign: Callable[[Client], None]) -> None:
        self._watcher = watcher
        self._assign = assign
        self._clients: dict[Client, None] = {}  # the oldest first

    def add(self, client: Client) -> None:
        self._clients[client] = None
        self._watcher.watch_readable(client.sock, lambda events: self._check(client))
        if len(self._clients) > self._watcher.max_silent():
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
        self._watcher.unwatch(client.sock)


class SilentChannels:
    """The same limit where the server may speak first, so that each client gets its channel at once."""

    def __init__(self, max_clients: int) -> None:
        self._max_clients = max_clients
        self._clients: dict[Client, None] = {}  # the oldest first

    def add(self, client: Client) -> None:
        self._clients[client] = None
        if len(self._clients) <= self._max_clients:
            return
        self._clients = {each: None for each in self._clients if not each.has_sent and each.sock.fileno() >= 0}
        if len(self._clients) > self._max_clients:
            oldest = next(iter(self._clients))
            del self._clients[oldest]
            oldest.handler.on_over_limit(files=False)
            oldest.shut_down()
