"""Forwards local connections to one remote port, each over an SSH channel of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

from ...core.errors import RemoteRuntimeError
from ...core.model import format_address
from ...tunnel.identity import ServerIdentity
from ...tunnel.protocols import ConnectionHandler
from ...tunnel.rate_limited_log import RateLimitedLog
from ...tunnel.silent_connections import OldestFirst
from .client import Client, SilentClients
from .connection import OPEN_TIMEOUT_S, ForwardedConnection
from .listeners import Listeners
from .loop import Loop

log = logging.getLogger(__name__)
_CLOSE_TIMEOUT_S = 2.0


class ChannelPool:
    """``forward``, ``listen``, ``drain``, ``close`` are for any thread, the rest is for the loop's.

    ``open_error(reason, text)`` and ``lost_error()`` build the exceptions. ``identity``: None to skip the check.
    ``open_timeout_s``: for a channel to open and pass the check.
    """

    def __init__(
        self,
        loop: Loop,
        host: str,
        port: int,
        *,
        identity: ServerIdentity | None,
        open_error: Callable[[int, str], RemoteRuntimeError],
        lost_error: Callable[[], RemoteRuntimeError],
        open_timeout_s: float = OPEN_TIMEOUT_S,
    ) -> None:
        self.host = host
        self.port = port
        self.open_timeout_s = open_timeout_s
        self.closed = False
        self.open_error = open_error
        self._loop = loop
        self._identity = identity
        self._lost_error = lost_error
        self._listeners = Listeners(loop, self._add_client)
        self.listen = self._listeners.listen
        self._connections: set[ForwardedConnection] = set()
        self._silent_clients = SilentClients(loop, self._assign)
        self._silent_channels = OldestFirst[Client](2 * loop.max_silent, Client.is_silent)
        self._rate_limited_log = RateLimitedLog(log)
        loop.add_pool(self)

    def forward(self, sock: socket.socket, handler: ConnectionHandler) -> None:
        """See ``tunnel.protocols.Forwarder``."""
        client = Client(sock, handler)
        if not self._loop.call_soon(lambda: self._add_client(client)):
            client.return_with_error(self._lost_error())

    def close(self) -> None:
        """Reset all connections and refuse further ones. Waits until the ports are free."""
        done = threading.Event()
        self.closed = True

        def close() -> None:
            self.close_now()
            done.set()

        if self._loop.call_soon(close):
            done.wait(_CLOSE_TIMEOUT_S)

    def drain(self) -> None:
        """Refuse further connections; the open ones stay."""
        self.closed = True
        self._loop.call_soon(self._refuse)

    # ── in the loop's thread

    @property
    def is_finished(self) -> bool:
        return self.closed and not self._connections

    def close_now(self) -> None:
        self.closed = True
        self._refuse()
        for connection in list(self._connections):
            connection.abort(self._lost_error())

    def _refuse(self) -> None:
        self._listeners.stop()
        self._silent_clients.reset_all()

    def _add_client(self, client: Client) -> None:
        if self._identity is not None and not self.closed:
            self._silent_clients.add(client)
            return
        self._assign(client)
        oldest = self._silent_channels.add(client)
        if oldest is not None:
            oldest.handler.on_over_limit(files=False)
            oldest.shut_down()

    def _assign(self, client: Client) -> None:
        if self.closed:
            client.return_with_error(self._lost_error())
        elif self._loop.at_capacity():
            client.handler.on_over_limit(files=False)
            client.reset()
        else:
            check = self._identity.new_check() if self._identity else None
            self._connections.add(ForwardedConnection(self._loop, self, client, check))

    # ── called by the connections

    def on_failed(self, client: Client, error: RemoteRuntimeError) -> None:
        """The client's channel could not be opened, or did not pass the check."""
        self._rate_limited_log(f"no connection to {format_address(self.host, self.port)}", error)
        client.return_with_error(error)

    def on_closed(self, connection: ForwardedConnection) -> None:
        self._connections.discard(connection)
