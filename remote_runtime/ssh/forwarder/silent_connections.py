"""Local connections that have said nothing yet: those to Jupyter get a channel when they ask.

Chromium opens connections ahead of requests, and before it asks for its permission. Any program of this computer can
open as many as it likes: of those that say nothing the oldest is closed when there is no room for another.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from ...tunnel.silent_connections import HEAD_BYTES, is_asked
from .client import Client


class Watcher(Protocol):
    """What the loop does for them."""

    def most_silent(self) -> int:
        """How many connections that say nothing a lane keeps."""

    def watch_readable(self, sock: socket.socket, call: Callable[[int], None]) -> None: ...
    def forget(self, sock: socket.socket) -> None: ...


class Silent:
    """In the loop's thread. ``admit`` is called with each client that speaks."""

    def __init__(self, watcher: Watcher, admit: Callable[[Client], None]) -> None:
        self._watcher = watcher
        self._admit = admit
        self._clients: dict[Client, None] = {}  # the oldest first

    def add(self, client: Client) -> None:
        self._clients[client] = None
        self._watcher.watch_readable(client.sock, lambda events: self._look(client))
        if len(self._clients) > self._watcher.most_silent():
            oldest = next(iter(self._clients))
            self._part_with(oldest)
            oldest.guest.crowded_out(files=False)
            oldest.reset()
        else:
            self._look(client)

    def end(self) -> None:
        """Reset all of them."""
        for client in list(self._clients):
            self._part_with(client)
            client.reset()

    def _look(self, client: Client) -> None:
        """Whether it has asked for something by now, or has left."""
        try:
            said = client.sock.recv(HEAD_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            said = b""
        if said and client.guest.begins(said[:1]):
            if not is_asked(client.sock, said):
                return
            self._part_with(client)
            self._admit(client)
        else:
            self._part_with(client)
            client.close()

    def _part_with(self, client: Client) -> None:
        del self._clients[client]
        self._watcher.forget(client.sock)


class Quiet:
    """The same bound where the machine may speak first, so that each has a channel from the beginning."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._clients: dict[Client, None] = {}  # the oldest first

    def add(self, client: Client) -> None:
        self._clients[client] = None
        if len(self._clients) <= self._most:
            return
        self._clients = {each: None for each in self._clients if not each.has_spoken and each.sock.fileno() >= 0}
        if len(self._clients) > self._most:
            oldest = next(iter(self._clients))
            del self._clients[oldest]
            oldest.guest.crowded_out(files=False)
            oldest.give_up()
