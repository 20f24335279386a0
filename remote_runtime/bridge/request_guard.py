"""Refuses requests at their headers, and reads a large body from authenticated clients only.

tornado reads the whole body into memory before it calls the handler: a client without a token could fill it.
"""

from __future__ import annotations

import contextlib
import json
from http.client import responses
from typing import Any, Awaitable, Callable, Mapping, Optional

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError
from tornado.log import access_log

from .tornado_websocket import dup_socket, lingering_close

MAX_UNAUTHENTICATED_BODY_BYTES = 64 * 1024


class StatusResponse(HTTPMessageDelegate):
    """Answers with a status and its name. The body of a request is not read; its connection is closed instead."""

    def __init__(self, request: HTTPServerRequest, status: int, headers: HTTPHeaders) -> None:
        self._request = request
        self._status = status
        self._headers = headers
        self._connection: Any = request.connection

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Optional[Awaitable[None]]:
        return self._end_connection() if stream_of(self._request) is not None and has_body(headers) else None

    def finish(self) -> None:
        self._answer()
        self._connection.finish()

    async def _end_connection(self) -> None:
        self._headers["Connection"] = "close"
        sock = dup_socket(stream_of(self._request))
        with contextlib.suppress(StreamClosedError):  # the client has left
            await self._answer()
            self._connection.finish()
        if sock is not None:
            lingering_close(sock)

    def _answer(self) -> Any:
        request = self._request
        log = access_log.warning if self._status >= 400 else access_log.info
        log("%d %s %s (%s)", self._status, request.method, request.path, request.remote_ip)
        body = json.dumps({"message": responses[self._status]}).encode()
        self._headers["Content-Type"] = "application/json"
        self._headers["Content-Length"] = str(len(body))
        start_line = ResponseStartLine("HTTP/1.1", self._status, responses[self._status])
        return self._connection.write_headers(start_line, self._headers, b"" if request.method == "HEAD" else body)


class AuthenticateBeforeBody(HTTPMessageDelegate):
    """Authenticates the client before the body is read, then continues with ``accept()`` or ``refuse()``."""

    def __init__(
        self,
        is_authenticated: Callable[[], Awaitable[bool]],
        accept: Callable[[], HTTPMessageDelegate],
        refuse: Callable[[], HTTPMessageDelegate],
    ) -> None:
        self._is_authenticated = is_authenticated
        self._accept = accept
        self._refuse = refuse
        self._chosen: Optional[HTTPMessageDelegate] = None

    async def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        self._chosen = self._accept() if await self._is_authenticated() else self._refuse()
        waited = self._chosen.headers_received(start_line, headers)
        if waited is not None:
            await waited

    def data_received(self, chunk: bytes) -> Optional[Awaitable[None]]:
        return self._chosen.data_received(chunk) if self._chosen is not None else None

    def finish(self) -> None:
        if self._chosen is not None:
            self._chosen.finish()

    def on_connection_close(self) -> None:
        if self._chosen is not None:
            self._chosen.on_connection_close()


def has_body(headers: Mapping[str, str]) -> bool:
    return "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0"


def is_large(headers: Mapping[str, str]) -> bool:
    """Whether a body is longer than an unauthenticated client may send, or of unknown length."""
    length = headers.get("Content-Length", "0")
    return "Transfer-Encoding" in headers or not length.isdigit() or int(length) > MAX_UNAUTHENTICATED_BODY_BYTES


def stream_of(request: HTTPServerRequest) -> Any:
    """The connection's stream; None for a request over a WebSocket, whose message size is limited."""
    return getattr(request.connection, "stream", None)
