"""Who uses the server: requests counted by the page's origin, and the WebSockets that are open now."""

from __future__ import annotations

from typing import Dict, MutableSet, Optional
from weakref import WeakSet

from tornado.websocket import WebSocketHandler

from .origins import origin_of

# Anybody can send any Origin: names beyond these are counted together.
_ORIGINS_KEPT = 32
_ORIGIN_CHARACTERS = 100


class Census:
    def __init__(self) -> None:
        self.requests: Dict[str, int] = {}
        self.refused: Dict[str, int] = {}
        self._sockets: MutableSet[WebSocketHandler] = WeakSet()

    def count_request(self, origin: Optional[str], *, is_allowed: bool = False) -> None:
        """The server's own pages are counted by their names whatever others have invented before them."""
        name = _name(origin)
        _count(self.requests, name, most=2 * _ORIGINS_KEPT if is_allowed or origin is None else _ORIGINS_KEPT)

    def count_refused(self, page: str) -> None:
        _count(self.refused, _name(page), most=_ORIGINS_KEPT)

    def add_socket(self, socket: WebSocketHandler) -> None:
        self._sockets.add(socket)

    def sockets(self) -> Dict[str, int]:
        """Open WebSockets by origin."""
        counts: Dict[str, int] = {}
        for socket in list(self._sockets):
            # Older versions of tornado keep the connection of a socket whose handler has failed.
            if socket.ws_connection is not None and not socket.ws_connection.is_closing():
                name = _name(origin_of(socket.request.headers))
                counts[name] = counts.get(name, 0) + 1
        return counts


def _count(counts: Dict[str, int], name: str, *, most: int) -> None:
    if name not in counts and len(counts) >= most:
        name = "other"
    counts[name] = counts.get(name, 0) + 1


def _name(origin: Optional[str]) -> str:
    return "none" if origin is None else origin[:_ORIGIN_CHARACTERS]
