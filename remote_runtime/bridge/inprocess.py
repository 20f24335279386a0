"""One request given to the running tornado application without a connection to it: its answer goes to a ``send``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, List, Optional, Tuple

from tornado import httputil
from tornado.iostream import StreamClosedError
from tornado.web import Application

from .wire import PIECE_BYTES, MessageId, Request, first_piece, next_piece

Send = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Caller:
    """Whom the application answers to: what a real connection would have told it. ``origin`` is for counting only."""

    host: str
    remote_ip: str
    protocol: str
    user_agent: str
    authorization: Optional[str]
    origin: Optional[str]


class InProcessConnection(httputil.HTTPConnection):
    """The answer's way out: pieces are sent one after the other, each write waiting until its bytes are gone."""

    def __init__(self, message_id: MessageId, caller: Caller, send: Send) -> None:
        self.context = caller
        self.answered: "asyncio.Future[None]" = asyncio.get_event_loop().create_future()
        self._message_id = message_id
        self._send = send
        self._head: Optional[Tuple[httputil.ResponseStartLine, httputil.HTTPHeaders]] = None
        self._head_sent = False
        self._pending = bytearray()
        self._written = 0
        self._sent = 0
        self._waiting: List[Tuple[int, "asyncio.Future[None]"]] = []
        self._finished = False
        self._pump: Optional["asyncio.Task[None]"] = None
        self._on_close: Optional[Callable[[], Any]] = None

    # What tornado's handlers call; see tornado.httputil.HTTPConnection and tornado.http1connection.

    def set_close_callback(self, callback: Optional[Callable[[], Any]]) -> None:
        self._on_close = callback

    def write_headers(  # type: ignore[override]  # tornado's own connections take and return just these
        self,
        start_line: httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: Optional[bytes] = None,
    ) -> "asyncio.Future[None]":
        self._head = (start_line, headers.copy())
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        done: "asyncio.Future[None]" = asyncio.get_event_loop().create_future()
        # Handlers that do not wait for their writes never look at this future.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        if self.answered.done():
            done.set_exception(StreamClosedError())
            return done
        self._pending += chunk
        self._written += len(chunk)
        self._waiting.append((self._written, done))
        self._wake()
        return done

    def finish(self) -> None:
        self._finished = True
        self._wake()

    def close(self) -> None:
        """The client is gone: writes fail from now on, and the handler is told as by a closed connection."""
        if self.answered.done():
            return
        self.answered.set_result(None)
        self._pending.clear()
        for _, done in self._waiting:
            if not done.done():
                done.set_exception(StreamClosedError())
        self._waiting.clear()
        if self._on_close is not None:
            callback, self._on_close = self._on_close, None
            callback()

    def _wake(self) -> None:
        if self._pump is None and not self.answered.done():
            # A task starts at the loop's next turn: by then a short answer has been finished and takes one message.
            self._pump = asyncio.ensure_future(self._send_pieces())

    async def _send_pieces(self) -> None:
        try:
            while not self.answered.done() and self._head is not None:
                if self._holds_the_end_back():
                    return
                piece = bytes(self._pending[:PIECE_BYTES])
                del self._pending[: len(piece)]
                last = self._finished and not self._pending
                if piece or last or not self._head_sent:
                    await self._send(self._message(piece, done=last))
                self._sent += len(piece)
                self._release_writes(self._sent)
                if last:
                    if not self.answered.done():
                        self.answered.set_result(None)
                    return
                if not self._pending and not self._finished:
                    return
        except Exception:  # noqa: BLE001  whatever broke the socket, this answer cannot be given any more
            self.close()
        finally:
            self._pump = None

    def _holds_the_end_back(self) -> bool:
        """The last piece of a body whose length is known waits for the handler's end, to be sent with ``done``."""
        if self._finished or self._head is None or not 0 < len(self._pending) <= PIECE_BYTES:
            return False
        if self._head[1].get("Content-Length") != str(self._written):
            return False
        self._release_writes(self._written)
        return True

    def _message(self, piece: bytes, *, done: bool) -> str:
        if self._head_sent or self._head is None:
            return next_piece(self._message_id, piece, done=done)
        self._head_sent = True
        start_line, headers = self._head
        return first_piece(self._message_id, start_line.code, start_line.reason, headers.get_all(), piece, done=done)

    def _release_writes(self, sent: int) -> None:
        while self._waiting and self._waiting[0][0] <= sent:
            _, done = self._waiting.pop(0)
            if not done.done():
                done.set_result(None)


async def dispatch(application: Application, asked: Request, connection: InProcessConnection) -> None:
    """Give the request to the application's handler for it. Raises what that handler's constructor raises."""
    start_line = httputil.RequestStartLine(asked.method, asked.path, "HTTP/1.1")
    headers = _headers(asked, connection.context)
    request = httputil.HTTPServerRequest(connection=connection, start_line=start_line, headers=headers)
    delegate = application.find_handler(request)
    prepared = delegate.headers_received(start_line, headers)
    if prepared is not None:
        await prepared
    if asked.body:
        consumed = delegate.data_received(asked.body)
        if consumed is not None:
            await consumed
    delegate.finish()


def _headers(asked: Request, caller: Caller) -> httputil.HTTPHeaders:
    headers = httputil.HTTPHeaders({"Host": caller.host, "Accept": "*/*"})
    if caller.user_agent:
        headers["User-Agent"] = caller.user_agent
    if caller.authorization:
        headers["Authorization"] = caller.authorization
    if asked.body is not None:
        headers["Content-Length"] = str(len(asked.body))
        if asked.is_text:
            headers["Content-Type"] = "application/json"
    return headers
