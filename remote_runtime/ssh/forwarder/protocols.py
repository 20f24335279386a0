"""What a lane needs of the loop that it runs in, and of the other links to the same machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from .client import Address, Client
from .connection import Floor
from .silent_connections import Watcher


class Host(Floor, Watcher, Protocol):
    """What the loop does for its lanes."""

    def lasting(self) -> int: ...
    def crowded(self) -> bool: ...
    def call_soon(self, call: Callable[[], None]) -> bool: ...
    def accept_from(self, listener: socket.socket, take: Callable[[socket.socket, Address], None]) -> None: ...
    def accept_no_more(self, listener: socket.socket) -> None: ...


class OtherLane(Protocol):
    """A lane of another link."""

    def take_over(self, client: Client) -> bool:
        """False when the link is gone."""


class Relief(Protocol):
    """Other links to the same machine, for connections that would be too many for one. For the lane's thread."""

    @property
    def helps(self) -> bool:
        """Whether there are such links, or may be."""

    def lane(self) -> OtherLane | None:
        """To the same port, on a link that has room."""

    def is_near(self) -> bool:
        """Whether it is worth a moment's wait; from now on one is made ready."""

    def prepare(self) -> None:
        """See that there is room before it is needed."""

    def end(self, *, reset: bool) -> None:
        """Its lanes are not needed any more; ``reset``: what they carry neither."""
