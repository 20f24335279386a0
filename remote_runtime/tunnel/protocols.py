"""The interfaces between a local port, the upstream that it forwards to, and the SSH forwarder."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from ..core.errors import RemoteRuntimeError
from .connection_stats import Address
from .identity import ServerIdentity, Stream


class Upstream(Protocol):
    """Where a local port forwards its connections to."""

    @property
    def closed(self) -> bool:
        """Whether the link below it is lost."""

    def dial(self) -> Stream:
        """A new connection. Raises ``RemoteRuntimeError``."""

    def open_forwarder(self, identity: ServerIdentity | None) -> Forwarder | None:
        """A forwarder, if this upstream has one; else each connection is dialled and gets a thread.
        ``identity``: checked on each connection; None to skip it. Raises ``RemoteRuntimeError``."""


class Forwarder(Protocol):
    """Forwards local connections by itself, without a thread for each. All methods are for any thread."""

    @property
    def closed(self) -> bool:
        """Whether it accepts no more connections."""

    def forward(self, sock: socket.socket, handler: ConnectionHandler) -> None:
        """``sock``: connected, non-blocking; owned by the forwarder until it is returned to ``handler``."""

    def listen(
        self,
        listeners: Sequence[socket.socket],
        new_handler: Callable[[Address], ConnectionHandler],
        on_stopped: Callable[[], None],
    ) -> None:
        """Accept and forward connections until ``closed``, then call ``on_stopped`` in another thread.
        ``new_handler`` gets the address that a connection comes from."""

    def drain(self) -> None:
        """Accept no more connections; the open ones stay."""

    def close(self) -> None:
        """Accept no more connections, and reset the open ones, except those that another forwarder can resume."""


class ConnectionHandler:
    """Gets the events of one forwarded connection, in the forwarder's thread, which it must not block. ``on_refused``
    or ``on_closed`` is called once, as the last. ``is_ours``: limits do not apply to it."""

    is_ours = True

    def on_over_limit(self, *, files: bool) -> None:
        """It is reset: too few files can be opened (``files``), or too many connections are open."""

    def on_opened(self) -> None:
        """It has a channel."""

    def on_first_bytes(self, first_byte: bytes) -> bool:
        """The client sends its first byte. False to close it instead of serving it."""
        return True

    def on_transfer(self, sent: int, received: int) -> None:
        """So many bytes were read from the client, and so many written to it."""

    def on_refused(self, sock: socket.socket, error: RemoteRuntimeError) -> None:
        """It could not be forwarded; ``sock`` is the handler's again, and nothing was read from it."""

    def on_closed(self) -> None:
        """It was forwarded, and is closed."""
