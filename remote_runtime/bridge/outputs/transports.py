"""How far the bytes of a WebSocket have come: to the client's end of a resumable stream, or into the socket."""

from __future__ import annotations

from typing import Any, Union

from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler

from ..streams.presence import stream_address
from ..streams.server import StreamAddress


class StreamTransport:
    """A WebSocket in a resumable stream: what has arrived was written to the local connection of the client's end."""

    def __init__(self, address: StreamAddress) -> None:
        self._address = address

    def is_attached(self) -> bool:
        return self._address.session.detached_since is None and not self._address.local.stream.is_closed

    def wrote(self, done: Any) -> int:
        return self._address.written()

    def arrived(self) -> int:
        return self._address.local.stream.confirmed


class SocketTransport:
    """A WebSocket of its own: what the socket has accepted counts as arrived. Offsets are numbers of messages."""

    def __init__(self, handler: WebSocketHandler) -> None:
        self._handler = handler
        self._written = 0
        self._accepted = 0

    def is_attached(self) -> bool:
        return True

    def wrote(self, done: Any) -> int:
        self._written += 1
        number, stream = self._written, getattr(self._handler.ws_connection, "stream", None)

        def accepted(_: Any = None) -> None:
            if not done.cancelled() and done.exception() is None:
                self._accepted = max(self._accepted, number)

        if isinstance(stream, IOStream) and not stream.closed() and not stream.writing():
            self._accepted = number
        else:
            done.add_done_callback(accepted)
        return number

    def arrived(self) -> int:
        return self._accepted


def transport_of(handler: WebSocketHandler) -> Union[StreamTransport, SocketTransport]:
    address = stream_address(handler.request)
    return SocketTransport(handler) if address is None else StreamTransport(address)
