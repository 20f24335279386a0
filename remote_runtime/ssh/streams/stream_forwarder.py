"""Forwards local connections as resumable streams, over one SSH connection until another takes its place."""

from __future__ import annotations

import socket
import threading

from ...tunnel.protocols import ConnectionHandler
from ..forwarder.client import Client, SilentClients
from ..forwarder.listeners import Listeners
from .client_streams import ClientStreams
from .link import StreamLink

_CLOSE_TIMEOUT_S = 2.0


class StreamForwarder:
    """See ``tunnel.protocols.Forwarder``. What it has forwarded belongs to ``streams`` and outlives it."""

    def __init__(self, streams: ClientStreams, link: StreamLink) -> None:
        self._link = link
        self._is_draining = False
        self._silent_clients = SilentClients(link.loop, lambda client: streams.open(client, link))
        self._listeners = Listeners(link.loop, self._silent_clients.add)
        self.listen = self._listeners.listen
        link.on_released(self._stop)

    @property
    def closed(self) -> bool:
        return self._is_draining or self._link.is_released

    def forward(self, sock: socket.socket, handler: ConnectionHandler) -> None:
        client = Client(sock, handler)
        if not self._link.loop.call_soon(lambda: self._silent_clients.add(client)):
            client.return_with_error(self._link.lost_error())

    def drain(self) -> None:
        self._is_draining = True
        self._link.loop.call_soon(self._listeners.stop)

    def close(self) -> None:
        done = threading.Event()

        def release() -> None:
            self._link.close_now()
            done.set()

        if self._link.loop.call_soon(release):
            done.wait(_CLOSE_TIMEOUT_S)

    def _stop(self) -> None:
        self._listeners.stop()
        self._silent_clients.reset_all()
