"""What must hold whatever a page sends: checked with hypothesis in the tests, and for longer by ``scripts/fuzz``."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    RequestStartLine,
    parse_request_start_line,
)
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from remote_runtime.bridge import credentials, protocol, virtual_connection
from remote_runtime.bridge.cors import cors_transform
from remote_runtime.bridge.origins import COLAB_ORIGIN, Origins
from remote_runtime.bridge.request_guard import StatusResponse
from remote_runtime.bridge.request_stats import RequestStats
from remote_runtime.bridge.routing import install_router

PREFIX = "/http_over_websocket/"
LIMIT_S = 5.0
CALLER = virtual_connection.ClientInfo("localhost:8888", "127.0.0.1", "http", "agent", "token secret", COLAB_ORIGIN)
HANDED_ON = {"Host", "Accept", "User-Agent", "Authorization", "Content-Length", "Content-Type"}
# Whatever of these an origin has may be this computer or this server; anything else is a stranger's page.
MAY_BE_NEAR = re.compile(r"localhost|127\.|\[|https://colab(\.research)?\.google\.com", re.IGNORECASE)


class Echo(RequestHandler):
    """Answers with the headers that it was given, on any path and to any method it knows."""

    async def prepare(self) -> None:
        self.finish(json.dumps(sorted({name for name, _ in self.request.headers.get_all()})))


class Socket(WebSocketHandler):
    """What a ``proxied_ws`` may lead to."""


def application() -> Application:
    made = Application([("/ws", Socket), (f"{PREFIX[:-1]}.*", Socket), (".*", Echo)], log_function=lambda _: None)
    install_router(made, Origins({}), RequestStats(), PREFIX, RequestHandler)
    return made


def check_message(message: bytes | str) -> None:
    """A message is refused with a reason, or it is a request that is answered in the bridge's format."""
    try:
        asked = protocol.parse_request(message)
    except protocol.BadRequest as refusal:
        answer = json.loads(protocol.error_message(refusal.message_id, 400, refusal.status_text))
        assert answer["statusText"] == protocol.NOT_JSON or "body must contain" in answer["statusText"]
        return
    assert re.fullmatch(r"/[!-\"$-~]*", asked.path), asked.path
    assert re.fullmatch(r"[!-~]+", asked.method), asked.method
    check_answer(asked, asyncio.run(_answered(asked)))


def check_answer(asked: protocol.BridgeRequest, messages: list[bytes]) -> None:
    pieces = [json.loads(message) for message in messages]
    assert [piece["done"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert {json.dumps(piece["message_id"]) for piece in pieces} == {json.dumps(asked.message_id)}
    body = b"".join(base64.b64decode(piece.get("data", ""), validate=True) for piece in pieces)
    if pieces[0]["status"] == 200 and body:
        assert set(json.loads(body)) <= HANDED_ON


def check_head(data: bytes) -> None:
    """Whatever the head of a request is: strangers' pages are kept out, and nothing is handed over but WebSockets."""
    request = _parsed(data)
    if request is None:
        return
    origin = request.headers.get("Origin", request.headers.get("Sec-Websocket-Origin"))
    is_upgrade = "websocket" in request.headers.get("Upgrade", "").lower()
    is_proxied = is_upgrade and request.path.startswith(PREFIX + "proxied_ws/")
    found: Any = application().find_handler(request)
    if origin is not None and not MAY_BE_NEAR.search(origin) and request.host.lower() not in origin.lower():
        assert isinstance(found, StatusResponse)
    if is_proxied and not isinstance(found, StatusResponse):
        assert issubclass(found.handler_class, WebSocketHandler)
        assert not request.path.startswith(PREFIX)
        assert credentials.AUTH_URL not in request.query_arguments
    check_cors(request)


def check_cors(request: HTTPServerRequest) -> None:
    """The one page that is listed is let in; what a handler says to another is taken back unless it is near."""
    said = HTTPHeaders({"Access-Control-Allow-Origin": "https://evil.example"})
    _, headers, _ = cors_transform(Origins({}))(request).transform_first_chunk(200, said, b"", True)
    origin = request.headers.get("Origin", request.headers.get("Sec-Websocket-Origin"))
    assert "origin" in headers["Vary"].lower()
    assert (headers.get("Access-Control-Allow-Origin") == COLAB_ORIGIN) == (origin == COLAB_ORIGIN)
    if origin is not None and not MAY_BE_NEAR.search(origin) and request.host.lower() not in origin.lower():
        assert "Access-Control-Allow-Origin" not in headers


def check_credentials(query: str, host: str) -> None:
    """The auth URL gives credentials that fit into a header, or it is refused."""
    try:
        found = credentials.authorization(query, {"Host": host}, "http")
    except credentials.WrongAuthUrl:
        return
    assert found is None or (found.isprintable() and found.startswith("token "))
    rest = credentials.without_our_parameters(query)
    assert credentials.last_value(rest, credentials.AUTH_URL) is None


async def _answered(asked: protocol.BridgeRequest) -> list[bytes]:
    messages: list[bytes] = []
    ended = asyncio.Event()

    def send(message: bytes) -> asyncio.Future[None]:
        messages.append(message)
        gone: asyncio.Future[None] = asyncio.Future()
        gone.set_result(None)
        return gone

    answer = virtual_connection.VirtualConnection(asked.message_id, CALLER, send, lambda _: ended.set())
    try:
        rest = virtual_connection.dispatch(application(), asked, CALLER, answer)
    except HTTPInputError:
        # What tornado itself refuses; the tunnel answers 400.
        return [protocol.error_message(asked.message_id, 400, "Bad Request")]
    if rest is not None:
        await rest
    await asyncio.wait_for(ended.wait(), LIMIT_S)
    return messages


def _parsed(data: bytes) -> HTTPServerRequest | None:
    """The request as tornado understands it, None where it refuses."""
    line, _, rest = data.decode("latin1").partition("\n")
    try:
        start_line: RequestStartLine = parse_request_start_line(line.rstrip("\r"))
        headers = HTTPHeaders.parse(rest)
        return HTTPServerRequest(connection=_Unconnected(), start_line=start_line, headers=headers)
    except (HTTPInputError, ValueError):
        return None


class _Unconnected(HTTPConnection):
    pass
