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

    def long_lived_count(self) -> int: ...
    def at_capacity(self) -> bool: ...
    def call_soon(self, call: Callable[[], None]) -> bool: ...
    def accept_from(self, listener: socket.socket, take: Callable[[socket.socket, Address], None]) -> None: ...
    def stop_accepting(self, listener: socket.socket) -> None: ...


class OtherPool(Protocol):
    """A lane of another link."""

    def adopt(self, client: Client) -> bool:
        """False when the link is gone."""


class ExtraCapacity(Protocol):
    """Other links to the same machine, for connections that would be too many for one. For the lane's thread."""

    @property
    def available(self) -> bool:
        """Whether there are such links, or may be."""

    def pool(self) -> OtherPool | None:
        """To the same port, on a link that has room."""

    def is_opening(self) -> bool:
        """Whether it is worth a moment's wait; from now on one is made ready."""

    def ensure_capacity(self) -> None:
        """See that there is room before it is needed."""

    def close(self, *, reset: bool) -> None:
        """Its lanes are not needed any more; ``reset``: what they carry neither."""
