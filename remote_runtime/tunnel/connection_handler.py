"""A connection of a front's that a lane carries."""

from __future__ import annotations

import socket
from typing import Protocol

from ..core.errors import RemoteRuntimeError
from .connection_stats import Visit

NO_FILES = "this process may not open more files"
CROWDED = "too many others are there"


class Owner(Protocol):
    """What the front does for it."""

    def crowded_out(self, visit: Visit, why: object, *, files: bool) -> None: ...
    def give_back(self, client: socket.socket, visit: Visit, error: RemoteRuntimeError, *, heard: bool) -> None: ...
    def is_leading(self) -> bool: ...


class LaneGuest:
    """A connection of the front's that a lane carries."""

    def __init__(self, front: Owner, visit: Visit) -> None:
        self._front = front
        self._visit = visit
        self.is_ours = visit.is_ours
        self.begins = visit.begins
        self.carries = visit.carries

    def began(self) -> None:
        """It is served."""

    def crowded_out(self, *, files: bool) -> None:
        self._front.crowded_out(self._visit, NO_FILES if files else CROWDED, files=files)

    def refused(self, sock: socket.socket, error: RemoteRuntimeError, *, heard: bool) -> None:
        self._front.give_back(sock, self._visit, error, heard=heard)

    def ended(self) -> None:
        if self._visit.became == "waiting" and self._front.is_leading():
            self._visit.leaves()
        self._visit.end()
