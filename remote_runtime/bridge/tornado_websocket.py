"""What tornado's WebSocket lacks: no Nagle delay, answers before a close for size, and a close that loses no data."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any, Awaitable, Callable, Dict, Iterable, Optional

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from .own_requests import without_checks

MESSAGE_TOO_BIG = 1009  # RFC 6455, 7.4.1
MAX_DRAIN_S = 10.0
_CLOSE_TIMEOUT_S = 5.0
_READ_BYTES = 256 * 1024


def watch_websockets(settings: Dict[str, Any], on_open: Iterable[Callable[[WebSocketHandler], None]]) -> None:
    """Call each of ``on_open`` for every WebSocket that the server opens, and disable Nagle's algorithm for it.

    tornado calls the application's ``log_function`` for a WebSocket at its handshake, with status 101.
    """
    log_request: Callable[[RequestHandler], None] = without_checks(settings.get("log_function") or _log_nothing)

    def log_and_watch(handler: RequestHandler) -> None:
        log_request(handler)
        if handler.get_status() == 101 and isinstance(handler, WebSocketHandler):
            for call in on_open:
                call(handler)
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


class DrainingProtocol(WebSocketProtocol13):
    """On a message over the size limit, tornado's own protocol closes at once, and pending answers are lost. This one
    first awaits ``all_answered``, for ``MAX_DRAIN_S`` at most. The message itself is not read into memory."""

    def __init__(self, plain: WebSocketProtocol13, all_answered: Callable[[], Awaitable[None]]) -> None:
        super().__init__(plain.handler, plain.mask_outgoing, plain.params)
        self._all_answered = all_answered
        self._why_too_big: Optional[str] = None

    def close(self, code: Optional[int] = None, reason: Optional[str] = None) -> None:
        if code == MESSAGE_TOO_BIG:
            self._why_too_big = reason
        else:
            super().close(code, reason)

    # tornado (6.1 to 6.6) calls these two for a frame that arrives and for the end at once: it closes, then aborts.

    async def _receive_frame(self) -> None:
        await super()._receive_frame()
        if self._why_too_big is not None:
            reason, self._why_too_big = self._why_too_big, None
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.ensure_future(self._all_answered()), MAX_DRAIN_S)
            super().close(MESSAGE_TOO_BIG, reason)
            super()._abort()

    def _abort(self) -> None:
        if self._why_too_big is None:
            super()._abort()


def drain_before_close(
    plain: Optional[WebSocketProtocol], all_answered: Callable[[], Awaitable[None]]
) -> Optional[WebSocketProtocol]:
    """``plain`` as a ``DrainingProtocol``; another protocol is returned unchanged."""
    return DrainingProtocol(plain, all_answered) if type(plain) is WebSocketProtocol13 else plain


def dup_socket(stream: Optional[IOStream]) -> Optional[socket.socket]:
    """A duplicate of the stream's socket, which stays open when the stream is closed. None with TLS."""
    if stream is None or stream.socket is None or isinstance(stream.socket, ssl.SSLSocket):
        return None
    return stream.socket.dup()


def lingering_close(sock: socket.socket) -> None:
    """Shut the sending direction down, read for ``_CLOSE_TIMEOUT_S`` at most, then close (RFC 9112, 9.6). Returns at
    once.

    To be called with a ``dup_socket`` when the stream is closed: tornado closes while the client is still sending, and
    a close with unread data resets the connection, so that the close code and earlier answers are lost.
    """
    try:
        sock.setblocking(False)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        # Reset by the client.
        sock.close()
        return
    loop = IOLoop.current()

    def end() -> None:
        if sock.fileno() >= 0:
            loop.remove_timeout(deadline)
            loop.remove_handler(sock)
            sock.close()

    def read(*_: Any) -> None:
        try:
            if not sock.recv(_READ_BYTES):
                end()
        except BlockingIOError:
            return
        except OSError:
            end()

    deadline = loop.call_later(_CLOSE_TIMEOUT_S, end)
    loop.add_handler(sock, read, IOLoop.READ)
