"""Where local connections come from."""

from __future__ import annotations

import functools
import socket


class ListeningSocket(socket.socket):
    """Another one of the same port, non-blocking. ``accept`` asks it for family and type each time, for which
    ``socket`` makes enums of numbers: that costs ten times what it does to remember them."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.dup().detach())
        self.setblocking(False)

    @functools.cached_property
    def family(self) -> socket.AddressFamily:
        return super().family

    @functools.cached_property
    def type(self) -> socket.SocketKind:
        return super().type
