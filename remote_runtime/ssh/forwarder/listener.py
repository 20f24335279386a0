"""Where local connections come from."""

from __future__ import annotations

import functools
import socket


class ListeningSocket(socket.socket):
    """A non-blocking duplicate of a listening socket. It caches ``family`` and ``type``: ``accept`` reads both, and
    ``socket`` converts them to enums each time, which takes ten times as long."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.dup().detach())
        self.setblocking(False)

    @functools.cached_property
    def family(self) -> socket.AddressFamily:
        return super().family

    @functools.cached_property
    def type(self) -> socket.SocketKind:
        return super().type
