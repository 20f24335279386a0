"""``/http_over_websocket/proxied_ws/PATH?QUERY``: passes the connection to the handler of ``/PATH?QUERY``."""

from __future__ import annotations

import copy
from typing import Optional

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from . import credentials


def proxied_handler(application: Application, request: HTTPServerRequest, prefix: str) -> Optional[HTTPMessageDelegate]:
    """The delegate of the target's WebSocket handler, None if there is no such handler.

    ``request`` becomes a request for the target: it gets the target's path, query, arguments and credentials, without
    the bridge's parameters. ``prefix``: ``…/http_over_websocket/``; paths below it are no targets. Raises
    ``WrongAuthUrl``.
    """
    path = request.path[len(prefix) + len("proxied_ws") :]
    if not path.startswith("/") or path.startswith(prefix) or path == prefix.rstrip("/"):
        return None
    token = credentials.authorization(request.query, request.headers, request.protocol or "http")
    _rewrite(request, path, credentials.without_our_parameters(request.query))
    if token is not None:
        request.headers["Authorization"] = token
    delegate = application.find_handler(request)
    handler = getattr(delegate, "handler_class", None)
    return delegate if isinstance(handler, type) and issubclass(handler, WebSocketHandler) else None


def _rewrite(request: HTTPServerRequest, path: str, query: str) -> None:
    request.path = path
    request.query = query
    request.uri = f"{path}?{query}" if query else path
    request.arguments = credentials.arguments(query)
    request.query_arguments = copy.deepcopy(request.arguments)
