"""``/http_over_websocket``: HTTP requests carried by a WebSocket, answered by the application that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Optional, Set, Union

from tornado.log import app_log
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from . import credentials, wire
from .inprocess import Caller, InProcessConnection, dispatch
from .origins import Origins, origin_of
from .stack import open_to_unauthenticated, settled

UNAUTHENTICATED_MESSAGE_BYTES = 64 * 1024
UNAUTHENTICATED_REQUESTS = 8
CONCURRENT_REQUESTS = 64
# RFC 6455, 7.4.1: the one legal code for "we do not talk like this". Upstream's 400 is refused by many clients.
POLICY_VIOLATION = 1008
# A control frame holds 125 bytes, two of them are the code.
_REASON_BYTES = 123


class BridgeSocket(WebSocketHandler):
    """What both of the bridge's sockets check while they open. Mixed with the server's own page handler."""

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
            # The server's own code judges the credentials, here and at each request that is carried.
            self.request.headers["Authorization"] = self._authorization
        await settled(super().prepare())
        self.is_authenticated = bool(self.current_user) and not self._wrong_auth_url

    @open_to_unauthenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        await super().get(*args, **kwargs)

    @property
    def max_message_size(self) -> int:
        if not self.is_authenticated:
            return UNAUTHENTICATED_MESSAGE_BYTES
        # Room for the largest body as base64, for its frame of JSON, and for one that deserves an answer of 413.
        return self._max_body_bytes // 3 * 4 + 16 * 1024 * 1024

    def check_origin(self, origin: str) -> bool:
        return not self._origins.is_foreign(origin, self.request.headers.get("Host", ""))

    def open(self, *args: str, **kwargs: str) -> None:
        wanted = self.min_version()
        try:
            if wanted is not None and wire.is_newer(wanted):
                app_log.info("The page wants bridge protocol %r, this one speaks %s", wanted, wire.PROTOCOL_VERSION)
        except ValueError:
            reason = f'Invalid "min_version" provided: {wanted}'.encode("utf-8", "replace")[:_REASON_BYTES]
            self.close(POLICY_VIOLATION, reason.decode("utf-8", "ignore"))

    def min_version(self) -> Optional[str]:
        return credentials.last(self.request.query, credentials.MIN_VERSION)


class TunnelSocket(BridgeSocket):
    """Requests run side by side; when too many are under way the next message is not read before one has ended."""

    def open(self, *args: str, **kwargs: str) -> None:
        self._under_way: Set[InProcessConnection] = set()
        self._slots = asyncio.Semaphore(CONCURRENT_REQUESTS if self.is_authenticated else UNAUTHENTICATED_REQUESTS)
        super().open()

    async def on_message(self, message: Union[str, bytes]) -> None:
        if self.ws_connection is None:
            # Closed by us; what the page had sent by then is still delivered here.
            return
        try:
            asked = wire.parse_request(message)
        except wire.BadRequest as refusal:
            await self._refuse(wire.failure(refusal.message_id, 400, refusal.status_text))
            return
        if asked.body is not None and len(asked.body) > self._max_body_bytes:
            await self._refuse(wire.failure(asked.message_id, 413, "Request Entity Too Large"))
            return
        if self._wrong_auth_url:
            app_log.warning("The bridge's auth URL is not this server as the page sees it; its requests are refused")
            await self._refuse(wire.failure(asked.message_id, 500, wire.UNCAUGHT))
            return
        await self._slots.acquire()
        if self.ws_connection is None:
            # Nobody is left to hear the answer.
            self._slots.release()
            return
        connection = InProcessConnection(asked.message_id, self._caller(), self._send)
        self._under_way.add(connection)
        connection.answered.add_done_callback(lambda _: self._ended(connection))
        try:
            await dispatch(self.application, asked, connection)
        except Exception:  # noqa: BLE001  a handler that cannot even be made must not end the others' socket
            app_log.error("Uncaught exception in the bridge", exc_info=True)
            connection.close()
            await self._refuse(wire.failure(asked.message_id, 500, wire.UNCAUGHT))

    def on_close(self) -> None:
        for connection in list(getattr(self, "_under_way", ())):
            connection.close()

    async def _send(self, message: str) -> None:
        await self.write_message(message)

    async def _refuse(self, message: str) -> None:
        with contextlib.suppress(WebSocketClosedError):
            await self._send(message)

    def _ended(self, connection: InProcessConnection) -> None:
        self._under_way.discard(connection)
        self._slots.release()

    def _caller(self) -> Caller:
        return Caller(
            host=self.request.headers.get("Host", ""),
            remote_ip=str(self.request.remote_ip),
            protocol=self.request.protocol or "http",
            user_agent=self.request.headers.get("User-Agent", ""),
            authorization=self._authorization,
            origin=origin_of(self.request.headers),
        )


class DiagnoseSocket(BridgeSocket):
    """``/http_over_websocket/diagnose``: tells a page whether it is let in, and how old we are."""

    async def on_message(self, message: Union[str, bytes]) -> None:
        if self.ws_connection is None:
            return
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
        wanted = self.min_version()
        answer = {
            "message_id": text,
            "extension_version": wire.PROTOCOL_VERSION,
            "has_authentication_cookie": self.is_authenticated,
            "is_outdated_extension": wanted is not None and wire.is_newer(wanted),
        }
        with contextlib.suppress(WebSocketClosedError):
            await self.write_message(json.dumps(answer))
