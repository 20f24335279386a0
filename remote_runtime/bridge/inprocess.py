"""One request given to the running tornado application without a connection to it."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Awaitable, Optional

from tornado import httputil
from tornado.web import Application

from . import protocol as wire
from .virtual_connection import VirtualConnection

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class ClientInfo:
    """What a real connection would tell the application of the client. ``origin`` is for counting only.

    ``xsrf``: a secret for handlers that check XSRF in any case; empty for an unauthenticated client.
    """

    host: str
    remote_ip: str
    protocol: str
    user_agent: str
    authorization: Optional[str]
    origin: Optional[str]
    xsrf: str = ""


def dispatch(
    application: Application, bridge_request: wire.BridgeRequest, client: ClientInfo, connection: VirtualConnection
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


def _headers(bridge_request: wire.BridgeRequest, client: ClientInfo) -> httputil.HTTPHeaders:
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
