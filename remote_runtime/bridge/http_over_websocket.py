"""``/http_over_websocket``: HTTP requests over a WebSocket, answered by the same application."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from typing import Any, Awaitable, Optional, Set, Union

from tornado.httputil import HTTPInputError
from tornado.iostream import StreamClosedError
from tornado.log import app_log
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol

from . import credentials, protocol
from .origins import Origins, origin_of
from .server_compat import maybe_await, open_to_unauthenticated
from .tornado_websocket import drain_before_close, dup_socket, lingering_close
from .virtual_connection import ClientInfo, VirtualConnection, dispatch

MAX_UNAUTHENTICATED_MESSAGE_BYTES = 64 * 1024
MAX_UNAUTHENTICATED_REQUESTS = 8
MAX_CONCURRENT_REQUESTS = 64
# RFC 6455, 7.4.1. jupyter_http_over_ws closes with 400, which is no legal code and which many clients refuse.
POLICY_VIOLATION = 1008
# A control frame holds 125 bytes, two of them are the code.
_MAX_REASON_BYTES = 123


class BridgeSocket(WebSocketHandler):
    """The checks of both of the bridge's WebSockets. Mixed with the server's own page handler."""

    def initialize(self, origins: Origins, max_body_bytes: int) -> None:
        self._origins = origins
        self._max_body_bytes = max_body_bytes
        self._authorization: Optional[str] = None
        self._wrong_auth_url = False

    async def prepare(self) -> None:
        try:
            self._authorization = credentials.authorization(
                self.request.query, self.request.headers, self.request.protocol or "http"
            )
        except credentials.WrongAuthUrl:
            self._wrong_auth_url = True
        if self._authorization is not None:
            # The server's own code checks the credentials, here and for each request.
            self.request.headers["Authorization"] = self._authorization
        await maybe_await(super().prepare())
        self.is_authenticated = bool(self.current_user) and not self._wrong_auth_url

    @open_to_unauthenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        await super().get(*args, **kwargs)

    @property
    def max_message_size(self) -> int:
        if not self.is_authenticated:
            return MAX_UNAUTHENTICATED_MESSAGE_BYTES
        # The largest body as base64, its JSON, and a body that is a little too large, which gets the answer 413.
        return self._max_body_bytes // 3 * 4 + 16 * 1024 * 1024

    def check_origin(self, origin: str) -> bool:
        return not self._origins.is_foreign(origin, self.request.headers.get("Host", ""))

    def open(self, *args: str, **kwargs: str) -> None:
        wanted = self.min_version()
        try:
            if wanted is not None and protocol.is_newer(wanted):
                app_log.info("The page wants bridge protocol %r, this one speaks %s", wanted, protocol.PROTOCOL_VERSION)
        except ValueError:
            reason = f'Invalid "min_version" provided: {wanted}'.encode("utf-8", "replace")[:_MAX_REASON_BYTES]
            self.close(POLICY_VIOLATION, reason.decode("utf-8", "ignore"))

    def min_version(self) -> Optional[str]:
        return credentials.last_value(self.request.query, credentials.MIN_VERSION)


class TunnelSocket(BridgeSocket):
    """Requests run concurrently; if too many are pending, the next message is not read until one has ended."""

    def initialize(self, origins: Origins, max_body_bytes: int) -> None:
        super().initialize(origins, max_body_bytes)
        self._in_flight: Set[VirtualConnection] = set()
        self._slot_free: "Optional[asyncio.Future[None]]" = None
        self._dup_socket: Optional[socket.socket] = None

    def open(self, *args: str, **kwargs: str) -> None:
        self._dup_socket = None if self.ws_connection is None else dup_socket(self.ws_connection.stream)
        self._max_in_flight = MAX_CONCURRENT_REQUESTS if self.is_authenticated else MAX_UNAUTHENTICATED_REQUESTS
        self._client = ClientInfo(
            host=self.request.headers.get("Host", ""),
            remote_ip=str(self.request.remote_ip),
            protocol=self.request.protocol or "http",
            user_agent=self.request.headers.get("User-Agent", ""),
            authorization=self._authorization,
            origin=origin_of(self.request.headers),
            xsrf=secrets.token_hex(16) if self.is_authenticated else "",
            address=getattr(getattr(self.request.connection, "context", None), "address", None),
        )
        super().open()

    def get_websocket_protocol(self) -> Optional[WebSocketProtocol]:
        plain: Optional[WebSocketProtocol] = super().get_websocket_protocol()
        return drain_before_close(plain, self._all_answered)

    def on_message(self, message: Union[str, bytes]) -> Optional[Awaitable[None]]:
        """No coroutine, which would take two iterations of the loop for each request; it returns one if it must
        wait."""
        if self.ws_connection is None:
            # Closed here; messages that the page had sent before are still delivered.
            return None
        try:
            bridge_request = protocol.parse_request(message)
        except protocol.BadRequest as refusal:
            return self._refuse(refusal.message_id, 400, refusal.status_text)
        if bridge_request.body is not None and len(bridge_request.body) > self._max_body_bytes:
            return self._refuse(bridge_request.message_id, 413, "Request Entity Too Large")
        if self._wrong_auth_url:
            app_log.warning("The auth URL does not point to this server; requests are rejected")
            return self._refuse(bridge_request.message_id, 500, protocol.UNCAUGHT)
        if len(self._in_flight) >= self._max_in_flight:
            return self._start_when_slot_free(bridge_request)
        return self._start(bridge_request)

    def on_close(self) -> None:
        for connection in list(self._in_flight):
            connection.close()
        if self._dup_socket is not None and self.close_code is None:
            lingering_close(self._dup_socket)
        elif self._dup_socket is not None:
            self._dup_socket.close()

    async def _start_when_slot_free(self, bridge_request: protocol.BridgeRequest) -> None:
        while len(self._in_flight) >= self._max_in_flight:
            self._slot_free = asyncio.get_event_loop().create_future()
            await self._slot_free
        rest = self._start(bridge_request) if self.ws_connection is not None else None
        if rest is not None:
            await rest

    async def _all_answered(self) -> None:
        while self._in_flight and self.ws_connection is not None:
            self._slot_free = asyncio.get_event_loop().create_future()
            await self._slot_free

    def _start(self, bridge_request: protocol.BridgeRequest) -> Optional[Awaitable[None]]:
        connection = VirtualConnection(bridge_request.message_id, self._client, self._send, self._ended)
        self._in_flight.add(connection)
        try:
            rest = dispatch(self.application, bridge_request, self._client, connection)
        except HTTPInputError:
            # A real connection would get the same answer: its query has too many fields, for example.
            connection.close()
            return self._refuse(bridge_request.message_id, 400, "Bad Request")
        except Exception:  # noqa: BLE001  one handler that cannot be constructed must not close the WebSocket
            return self._fail(bridge_request, connection)
        return None if rest is None else self._start_rest(rest, bridge_request, connection)

    async def _start_rest(
        self, rest: Awaitable[None], bridge_request: protocol.BridgeRequest, connection: VirtualConnection
    ) -> None:
        try:
            await rest
        except Exception:  # noqa: BLE001  as above
            await self._fail(bridge_request, connection)

    def _fail(self, bridge_request: protocol.BridgeRequest, connection: VirtualConnection) -> Awaitable[None]:
        app_log.error("Uncaught exception in the bridge", exc_info=True)
        connection.close()
        return self._refuse(bridge_request.message_id, 500, protocol.UNCAUGHT)

    async def _refuse(self, message_id: Optional[protocol.MessageId], status: int, status_text: str) -> None:
        with contextlib.suppress(StreamClosedError):
            await self._send(protocol.error_message(message_id, status, status_text))

    def _send(self, message: bytes) -> "asyncio.Future[None]":
        """Like ``write_message``, without its task and its copy of the message."""
        stream = None if self.ws_connection is None or self.ws_connection.is_closing() else self.ws_connection.stream
        if stream is None:
            raise StreamClosedError
        return stream.write(b"".join((protocol.text_frame(len(message)), message)))

    def _ended(self, connection: VirtualConnection) -> None:
        self._in_flight.discard(connection)
        if self._slot_free is not None and not self._slot_free.done():
            self._slot_free.set_result(None)


class DiagnoseSocket(BridgeSocket):
    """``/http_over_websocket/diagnose``: whether the page is authenticated, and the version of the bridge."""

    async def on_message(self, message: Union[str, bytes]) -> None:
        if self.ws_connection is None:
            return
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
        wanted = self.min_version()
        answer = {
            "message_id": text,
            "extension_version": protocol.PROTOCOL_VERSION,
            "has_authentication_cookie": self.is_authenticated,
            "is_outdated_extension": wanted is not None and protocol.is_newer(wanted),
        }
        with contextlib.suppress(WebSocketClosedError):
            await self.write_message(json.dumps(answer))
