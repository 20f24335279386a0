"""The application's first routing rule: refuses, answers preflights, proxies, redirects, and passes the rest on."""

from __future__ import annotations

import copy
from typing import Any, Iterable, Mapping, Optional, Type

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import AnyMatches, Router, Rule
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from . import credentials, own_requests, server_compat
from .cors import Preflight, set_headers
from .credentials import WrongAuthUrl, last_value
from .origins import Origins, is_local_name, origin_of, page_of
from .request_guard import AuthenticateBeforeBody, StatusResponse, is_large, stream_of
from .request_stats import RequestStats
from .streams.presence import note_use

# They resolve names below ``localhost`` to this computer; Safari did not resolve them before 26.
_BROWSERS = ("Chrome/", "Firefox/")


def install_router(
    application: Application, origins: Origins, stats: RequestStats, prefix: str, page: Type[RequestHandler]
) -> None:
    """Install the router before all other rules, whichever extensions were loaded earlier. ``page``: the server's own
    handler class, which authenticates."""
    application.default_router.rules.insert(
        0, Rule(AnyMatches(), BridgeRouter(application, origins, stats, prefix, page))
    )


class BridgeRouter(Router):
    def __init__(
        self, application: Application, origins: Origins, stats: RequestStats, prefix: str, page: Type[RequestHandler]
    ) -> None:
        self._application = application
        self._origins = origins
        self._stats = stats
        self._prefix = prefix
        self._page = page
        self._passed_on: Optional[HTTPServerRequest] = None

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Optional[HTTPMessageDelegate]:
        """None passes the request on to the other rules."""
        if request is self._passed_on:
            return None
        origin, page = origin_of(request.headers), page_of(request.headers)
        is_refused = self._origins.is_foreign(page, request.headers.get("Host", ""))
        if not own_requests.begin(request):
            note_use(request)
            client = getattr(request.connection, "context", None)
            counted = getattr(client, "origin", None) or origin
            self._stats.count_request(counted, is_allowed=self._origins.allows(counted))
            if is_refused and page is not None:
                self._stats.count_refused(page)
        if is_refused:
            return self._refuse(request, 403)
        if stream_of(request) is not None and is_large(request.headers):
            return AuthenticateBeforeBody(
                lambda: server_compat.is_authenticated(self._page, self._application, request),
                lambda: self._pass_on(request),
                lambda: self._refuse(request, 403),
            )
        if request.method == "OPTIONS" and self._origins.allows(origin):
            return self._application.get_handler_delegate(request, Preflight)
        is_upgrade = "websocket" in request.headers.get("Upgrade", "").lower()
        if is_upgrade and request.path.startswith(self._prefix + "proxied_ws/"):
            return self._proxy(request)
        elsewhere = redirect_location(request, self._application.settings.get("local_hostnames", ()))
        if elsewhere is not None:
            headers = {"Location": elsewhere, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
            return StatusResponse(request, 302, HTTPHeaders(headers))
        return None

    def _pass_on(self, request: HTTPServerRequest) -> HTTPMessageDelegate:
        self._passed_on = request
        try:
            return self._application.find_handler(request)
        finally:
            self._passed_on = None

    def _proxy(self, request: HTTPServerRequest) -> HTTPMessageDelegate:
        try:
            return proxied_handler(self._application, request, self._prefix) or self._refuse(request, 404)
        except WrongAuthUrl:
            return self._refuse(request, 403)

    def _refuse(self, request: HTTPServerRequest, status: int) -> HTTPMessageDelegate:
        headers = HTTPHeaders()
        set_headers(headers, self._origins, request.headers)
        return StatusResponse(request, status, headers)


def proxied_handler(application: Application, request: HTTPServerRequest, prefix: str) -> Optional[HTTPMessageDelegate]:
    """For ``/http_over_websocket/proxied_ws/PATH?QUERY``: the delegate of ``/PATH?QUERY``'s WebSocket handler, None
    if there is none.

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


def redirect_location(request: HTTPServerRequest, names: Iterable[str]) -> Optional[str]:
    """The URL below the server's own name, for a browser that opens a page with the token at ``localhost``; else None.

    The page sets the login cookie, and browsers send a cookie of ``localhost`` to every port of this computer.
    ``names``: the server's ``local_hostnames``.
    """
    own = next((name for name in names if name.endswith(".localhost")), None)
    if own is None or request.method != "GET" or not _opens_a_page(request.headers):
        return None
    host = request.headers.get("Host", "")
    if host.partition(":")[0] == own or not is_local_name(host, ()) or not last_value(request.query, "token"):
        return None
    _, colon, port = host.rpartition(":")
    return f"http://{own}{colon}{port}{request.uri}" if colon and port.isdigit() else None


def _opens_a_page(headers: Mapping[str, str]) -> bool:
    is_page = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return is_page and any(browser in headers.get("User-Agent", "") for browser in _BROWSERS)
