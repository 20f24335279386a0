"""A request over a WebSocket as tornado sees it: dispatched without a connection, its answer passed to ``send``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any, Awaitable, Callable, Deque, Optional, Tuple

from tornado import httputil
from tornado.iostream import StreamClosedError
from tornado.web import Application

from . import protocol

# Sends a whole message; the future is done when its bytes were written. Both fail with StreamClosedError.
Send = Callable[[bytes], "asyncio.Future[None]"]
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class VirtualConnection(httputil.HTTPConnection):
    """As on a real connection a write is sent at once, and its future is done when it was written.

    A write longer than a chunk is sent by a task, chunk by chunk, so that it does not fill the socket's buffer.
    ``context``: the client, for tornado and the router. ``on_end`` is called once, when the last message was written or
    the client has left.
    """

    def __init__(
        self, message_id: protocol.MessageId, context: object, send: Send, on_end: Callable[[Any], None]
    ) -> None:
        self.context = context
        self._message_id = message_id
        self._send = send
        self._on_end = on_end
        self._first_message = b""
        self._has_begun = self._is_finished = self._has_ended = False
        self._length: Optional[str] = None
        self._pending = bytearray()
        self._written = self._sent = 0
        self._writes: Deque[Tuple[int, "asyncio.Future[None]"]] = Deque()
        self._sender: Optional["asyncio.Task[None]"] = None
        self._on_close: Optional[Callable[[], Any]] = None

    # Called by tornado's handlers; see tornado.httputil.HTTPConnection and tornado.http1connection.

    def set_close_callback(self, callback: Optional[Callable[[], Any]]) -> None:
        self._on_close = callback

    def write_headers(  # type: ignore[override]  # tornado's own connections take and return just these
        self,
        start_line: httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: Optional[bytes] = None,
    ) -> "asyncio.Future[None]":
        self._first_message = protocol.first_message(
            self._message_id, start_line.code, start_line.reason, headers.get_all()
        )
        self._length = headers.get("Content-Length")
        if chunk:
            return self.write(chunk)
        # By the loop's next iteration an answer without a body is finished, and needs one message only.
        asyncio.get_event_loop().call_soon(self._begin)
        return _resolved()

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        if self._has_ended:
            return _resolved(failed=True)
        self._written += len(chunk)
        if self._sender is not None or len(chunk) > protocol.CHUNK_BYTES:
            return self._queue(chunk)
        if self._has_whole_body():
            # The last chunk of a body of known length waits for ``finish``, to be sent with ``done``.
            self._pending += chunk
            return _resolved()
        return self._send_in_turn(chunk) if chunk else _resolved()

    def finish(self) -> None:
        self._is_finished = True
        if self._sender is None and not self._has_ended:
            chunk, self._pending = self._pending, bytearray()
            sent = self._send_now(chunk, done=True)
            if sent.done():
                self._end()
            else:
                sent.add_done_callback(lambda _: self._end())

    def close(self) -> None:
        """The client has left: further writes fail, and the handler's close callback is called."""
        if not self._has_ended:
            callback, self._on_close = self._on_close, None
            self._end()
            if callback is not None:
                callback()

    def _has_whole_body(self) -> bool:
        return self._length == str(self._written)

    def _begin(self) -> None:
        if not self._has_begun and not self._has_ended:
            self._send_now(b"")

    def _send_now(self, chunk: "bytes | bytearray", *, done: bool = False) -> "asyncio.Future[None]":
        beginning = protocol.next_message(self._message_id) if self._has_begun else self._first_message
        self._has_begun = True
        try:
            return self._send(protocol.chunk(beginning, chunk, done=done))
        except OSError:
            # tornado raises it for a stream that is closed or whose buffer is full.
            self.close()
            return _resolved(failed=True)

    def _send_in_turn(self, chunk: "bytes | bytearray") -> "asyncio.Future[None]":
        """Not done before the loop's next iteration: a page that reads as fast as it is written to must not block
        others."""
        sent = self._send_now(chunk)
        if sent.done() and not self._has_ended:
            sent = asyncio.Future()
            asyncio.get_event_loop().call_soon(_resolve, sent)
        return sent

    def _queue(self, chunk: bytes) -> "asyncio.Future[None]":
        self._pending += chunk
        written: "asyncio.Future[None]" = asyncio.Future()
        self._writes.append((self._written, written))
        if self._sender is None:
            self._sent = self._written - len(self._pending)
            self._sender = asyncio.ensure_future(self._send_queued())
        return written

    async def _send_queued(self) -> None:
        try:
            while len(self._pending) > protocol.CHUNK_BYTES or (self._pending and not self._is_ending()):
                chunk = self._pending[: protocol.CHUNK_BYTES]
                del self._pending[: protocol.CHUNK_BYTES]
                await self._send_in_turn(chunk)
                self._sent += len(chunk)
                self._complete_writes(self._sent)
            self._complete_writes(self._written)
        except OSError:
            self.close()
        finally:
            self._sender = None
        if self._is_finished:
            self.finish()

    def _is_ending(self) -> bool:
        return self._is_finished or self._has_whole_body()

    def _complete_writes(self, sent: int) -> None:
        while self._writes and self._writes[0][0] <= sent:
            _, written = self._writes.popleft()
            _resolve(written)

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._pending = bytearray()
            for _, written in self._writes:
                _resolve(written, failed=True)
            self._writes.clear()
            self._on_end(self)


def _resolved(*, failed: bool = False) -> "asyncio.Future[None]":
    future: "asyncio.Future[None]" = asyncio.Future()
    _resolve(future, failed=failed)
    return future


def _resolve(future: "asyncio.Future[None]", *, failed: bool = False) -> None:
    if future.done():
        return
    if failed:
        future.set_exception(StreamClosedError())
        # Handlers that do not await their writes never retrieve it, which asyncio would log.
        future.exception()
    else:
        future.set_result(None)


@dataclass(frozen=True)
class ClientInfo:
    """What a real connection would report to the application of the client. ``origin`` is for counting only.

    ``address``: of the WebSocket's connection, as the HTTP server has it. ``xsrf``: a secret for handlers that check
    XSRF in any case; empty for an unauthenticated client.
    """

    host: str
    remote_ip: str
    protocol: str
    user_agent: str
    authorization: Optional[str]
    origin: Optional[str]
    xsrf: str = ""
    address: object = None


def dispatch(
    application: Application, bridge_request: protocol.BridgeRequest, client: ClientInfo, connection: VirtualConnection
) -> Optional[Awaitable[None]]:
    """Pass the request to the application's handler for it. The result must be awaited: a handler that reads its body
    in parts needs time. Both raise the exceptions of that handler's constructor."""
    start_line = httputil.RequestStartLine(bridge_request.method, bridge_request.path, "HTTP/1.1")
    headers = _headers(bridge_request, client)
    request = httputil.HTTPServerRequest(connection=connection, start_line=start_line, headers=headers)
    if client.xsrf and bridge_request.method not in _SAFE_METHODS:
        # In the cookies and the arguments, where handlers look for it; the query's text stays unchanged.
        request.cookies.update(SimpleCookie({application.settings.get("xsrf_cookie_name", "_xsrf"): client.xsrf}))
        for arguments in (request.arguments, request.query_arguments):
            arguments["_xsrf"] = [client.xsrf.encode()]
    delegate = application.find_handler(request)
    body = bridge_request.body
    wait = delegate.headers_received(start_line, headers)
    if wait is None and body:
        wait, body = delegate.data_received(body), None
    if wait is not None:
        return _dispatch_rest(delegate, wait, body)
    delegate.finish()
    return None


async def _dispatch_rest(delegate: httputil.HTTPMessageDelegate, wait: Awaitable[None], body: Optional[bytes]) -> None:
    await wait
    if body:
        consumed = delegate.data_received(body)
        if consumed is not None:
            await consumed
    delegate.finish()


def _headers(bridge_request: protocol.BridgeRequest, client: ClientInfo) -> httputil.HTTPHeaders:
    headers = httputil.HTTPHeaders({"Host": client.host, "Accept": "*/*"})
    if client.user_agent:
        headers["User-Agent"] = client.user_agent
    if client.authorization:
        headers["Authorization"] = client.authorization
    if bridge_request.body is not None:
        headers["Content-Length"] = str(len(bridge_request.body))
        if bridge_request.is_text:
            headers["Content-Type"] = "application/json"
    return headers
