"""Counts requests and open WebSockets by the page's origin."""

from __future__ import annotations

from typing import Callable, Dict, MutableSet, Optional
from weakref import WeakSet

from tornado.httputil import HTTPServerRequest
from tornado.websocket import WebSocketHandler

from .origins import origin_of

# A client can send any Origin: beyond these, names are counted together.
_MAX_ORIGINS = 32
_MAX_ORIGIN_CHARS = 100


class RequestStats:
    def __init__(self) -> None:
        self.requests: Dict[str, int] = {}
        self.refused: Dict[str, int] = {}
        self._sockets: MutableSet[WebSocketHandler] = WeakSet()

    def count_request(self, origin: Optional[str], *, is_allowed: bool = False) -> None:
        """Allowed origins have space of their own, so that invented ones cannot displace them."""
        name = _name(origin)
        _count(self.requests, name, max_names=2 * _MAX_ORIGINS if is_allowed or origin is None else _MAX_ORIGINS)

    def count_refused(self, page: str) -> None:
        _count(self.refused, _name(page), max_names=_MAX_ORIGINS)

    def add_socket(self, socket: WebSocketHandler) -> None:
        self._sockets.add(socket)

    def sockets(self, is_counted: Callable[[HTTPServerRequest], bool]) -> Dict[str, int]:
        """Open WebSockets by origin, of those whose requests count."""
        counts: Dict[str, int] = {}
        for socket in list(self._sockets):
            # Older versions of tornado keep the connection of a WebSocket whose handler has failed.
            is_open = socket.ws_connection is not None and not socket.ws_connection.is_closing()
            if is_open and is_counted(socket.request):
                name = _name(origin_of(socket.request.headers))
                counts[name] = counts.get(name, 0) + 1
        return counts


def _count(counts: Dict[str, int], name: str, *, max_names: int) -> None:
    if name not in counts and len(counts) >= max_names:
        name = "other"
    counts[name] = counts.get(name, 0) + 1


def _name(origin: Optional[str]) -> str:
    return "none" if origin is None else origin[:_MAX_ORIGIN_CHARS]
