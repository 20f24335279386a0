"""Whether the client behind a request is there: one whose stream waits for it to connect again is not."""

from __future__ import annotations

from typing import Optional

from tornado.httputil import HTTPServerRequest

from ..request_guard import stream_of
from .server import StreamAddress


def stream_address(request: HTTPServerRequest) -> Optional[StreamAddress]:
    """Of the stream that the request arrived on, or the ``/http_over_websocket`` that carries it; None for another
    connection."""
    address = getattr(getattr(request.connection, "context", None), "address", None)
    return address if isinstance(address, StreamAddress) else None


def is_attached(request: HTTPServerRequest) -> bool:
    """True for a connection without a stream, too: the server sees when that ends."""
    address = stream_address(request)
    return address is None or address.session.detached_since is None


def note_use(request: HTTPServerRequest) -> None:
    """To be called for each request that is no check of remote-runtime's own."""
    address = stream_address(request)
    if address is not None and stream_of(request) is not None:  # else its WebSocket was counted
        address.on_request()
