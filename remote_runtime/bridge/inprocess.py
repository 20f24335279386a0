"""One request given to the running tornado application without a connection to it."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Awaitable, Optional

from tornado import httputil
from tornado.web import Application

from . import protocol as wire
from .virtual_connection import InProcessConnection

_READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """Whom the application answers to: what a real connection would have told it. ``origin`` is for counting only.

    ``xsrf``: a secret for handlers that check XSRF whatever the credentials are; empty for who has none.
    """

    host: str
    remote_ip: str
    protocol: str
    user_agent: str
    authorization: Optional[str]
    origin: Optional[str]
    xsrf: str = ""


def dispatch(
    application: Application, asked: wire.Request, caller: Caller, connection: InProcessConnection
) -> Optional[Awaitable[None]]:
    """Give the request to the application's handler for it. What is returned is to be awaited: a handler that takes
    its body bit by bit needs time. It, or this function, raises what that handler's constructor raises."""
    start_line = httputil.RequestStartLine(asked.method, asked.path, "HTTP/1.1")
    headers = _headers(asked, caller)
    request = httputil.HTTPServerRequest(connection=connection, start_line=start_line, headers=headers)
    if caller.xsrf and asked.method not in _READING:
        # Where handlers look for it: a cookie and the query. The query's text stays as the page wrote it.
        request.cookies.update(SimpleCookie({application.settings.get("xsrf_cookie_name", "_xsrf"): caller.xsrf}))
        for arguments in (request.arguments, request.query_arguments):
            arguments["_xsrf"] = [caller.xsrf.encode()]
    delegate = application.find_handler(request)
    body = asked.body
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


def _headers(asked: wire.Request, caller: Caller) -> httputil.HTTPHeaders:
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
