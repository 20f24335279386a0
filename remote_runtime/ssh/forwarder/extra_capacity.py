"""Further SSH connections for when one has many channels."""

from __future__ import annotations

from typing import Protocol

from .client import Client

MAX_ACTIVE_PER_CONNECTION = 32  # long-lived channels: sshd examines each for every packet


class ExtraCapacity(Protocol):
    """Further SSH connections to the same machine. Used in the loop's thread."""

    @property
    def available(self) -> bool:
        """Whether there are any, or one can be opened."""

    def adopt(self, client: Client) -> bool:
        """Pass the client to a connection that has capacity; False if there is none."""

    def is_opening(self) -> bool:
        """Open one if needed; whether it will soon be there."""

    def on_client(self) -> None:
        """Soon open one in advance, if the others have little capacity by then."""

    def close(self, *, reset: bool) -> None:
        """Close their pools. ``reset``: and the connections that these forward, else they stay."""
