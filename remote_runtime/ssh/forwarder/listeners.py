"""The local ports that a forwarder accepts connections on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from ...core.open_files import is_reserved
from ...tunnel.connection_stats import Address
from ...tunnel.protocols import ConnectionHandler
from .client import Client
from .loop import Loop


class Listeners:
    """``take`` is called with each client, in the loop's thread."""

    def __init__(self, loop: Loop, take: Callable[[Client], None]) -> None:
        self._loop = loop
        self._take = take
        self._listeners: list[tuple[socket.socket, Callable[[], None]]] = []
        self._is_stopped = False

    def listen(
        self,
        listeners: Sequence[socket.socket],
        new_handler: Callable[[Address], ConnectionHandler],
        on_stopped: Callable[[], None],
    ) -> None:
        """See ``tunnel.protocols.Forwarder``. For any thread. The caller's ``listeners`` stay open."""
        own = [listener.dup() for listener in listeners]

        def accept(sock: socket.socket, came_from: Address) -> None:
            client = Client(sock, new_handler(came_from))
            if is_reserved(sock.fileno()) and not client.handler.is_ours:
                client.handler.on_over_limit(files=True)
                client.reset()
            else:
                self._take(client)

        def register() -> None:
            for listener in own:
                listener.setblocking(False)
                self._listeners.append((listener, on_stopped))
                self._loop.accept_from(listener, accept)
            if self._is_stopped:
                self.stop()

        if not self._loop.call_soon(register):
            for listener in own:
                listener.close()
            on_stopped()

    def stop(self) -> None:
        """Accept no more connections. In the loop's thread."""
        self._is_stopped = True
        for listener, on_stopped in self._listeners:
            self._loop.stop_accepting(listener)
            listener.close()
            on_stopped()
        self._listeners.clear()
