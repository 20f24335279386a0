"""What a lane needs of the loop that it runs in, and of the other links to the same machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from .client import Address, Client, Watcher
from .connection import Floor


class Host(Floor, Watcher, Protocol):
    """What the loop does for its lanes."""

    def long_lived_count(self) -> int: ...
    def at_capacity(self) -> bool: ...
    def call_soon(self, call: Callable[[], None]) -> bool: ...
    def accept_from(self, listener: socket.socket, take: Callable[[socket.socket, Address], None]) -> None: ...
    def stop_accepting(self, listener: socket.socket) -> None: ...


class OtherPool(Protocol):
    """A pool of another SSH connection."""

    def adopt(self, client: Client) -> bool:
        """See ``ChannelPool.adopt``."""


class ExtraCapacity(Protocol):
    """Further SSH connections to the same machine. Used in the loop's thread."""

    @property
    def available(self) -> bool:
        """Whether there are any, or one can be opened."""

    def pool(self) -> OtherPool | None:
        """A pool to the same remote port, on a connection that has capacity."""

    def is_opening(self) -> bool:
        """Open one if needed; whether it will soon be there."""

    def ensure_capacity(self) -> None:
        """Open one in advance if the others have little capacity."""

    def close(self, *, reset: bool) -> None:
        """Close its pools. ``reset``: and their connections, else these stay."""
