"""The application's first routing rule: refuses, answers preflights, proxies, redirects, and passes the rest on."""

from __future__ import annotations

from typing import Any, Optional, Type

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import AnyMatches, Router, Rule
from tornado.web import Application, RequestHandler

from . import server_compat
from .cors import Preflight, set_headers
from .credentials import WrongAuthUrl
from .hostname_redirect import redirect_location
from .origins import Origins, origin_of, page_of
from .proxied import proxied_handler
from .request_guard import AuthenticateBeforeBody, StatusResponse, is_large, stream_of
from .request_stats import RequestStats

# The keeper's health checks send this header: they look like a page's requests, and are not counted.
_OWN_REQUEST_HEADER = "X-Remote-Runtime"


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
        if _OWN_REQUEST_HEADER not in request.headers:
            caller = getattr(request.connection, "context", None)
            self._count(getattr(caller, "origin", None) or origin, page if is_refused else None)
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

    def _count(self, origin: Optional[str], refused: Optional[str]) -> None:
        self._stats.count_request(origin, is_allowed=self._origins.allows(origin))
        if refused is not None:
            self._stats.count_refused(refused)

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
