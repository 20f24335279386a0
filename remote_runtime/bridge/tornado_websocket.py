"""Counts every WebSocket that the server opens, and disables Nagle's algorithm for it."""

from __future__ import annotations

from typing import Any, Callable, Dict

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from .request_stats import RequestStats


def watch_websockets(settings: Dict[str, Any], stats: RequestStats) -> None:
    """tornado calls the application's ``log_function`` for a WebSocket at its handshake, with status 101."""
    log_request: Callable[[RequestHandler], None] = settings.get("log_function") or _log_nothing

    def log_and_watch(handler: RequestHandler) -> None:
        log_request(handler)
        if handler.get_status() == 101 and isinstance(handler, WebSocketHandler):
            stats.add_socket(handler)
            # Not here: tornado enables Nagle's algorithm again when it ends the HTTP request.
            IOLoop.current().add_callback(_set_nodelay, handler)

    settings["log_function"] = log_and_watch


def _set_nodelay(handler: WebSocketHandler) -> None:
    if handler.ws_connection is not None:
        try:
            handler.set_nodelay(True)
        except (OSError, StreamClosedError, AssertionError):
            # The client has left since the handshake.
            return


def _log_nothing(handler: RequestHandler) -> None:
    """Jupyter always sets a log_function; without one nothing is logged."""
