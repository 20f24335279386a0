"""The first rule of the application's router: who is refused, what is preflight, what is handed over. Else nothing."""

from __future__ import annotations

from typing import Any, Optional, Type

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import AnyMatches, Router, Rule
from tornado.web import Application, RequestHandler

from . import server_compat
from .cors import Preflight, set_headers
from .credentials import WrongAuthUrl
from .hostname_redirect import location
from .origins import Origins, origin_of, page_of
from .proxied import find_target
from .request_guard import OnlyIfKnown, Refusal, is_large, stream_of
from .request_stats import Census

# The keeper's checks say what a page would say, and are none.
_OUR_OWN = "X-Remote-Runtime"


def stand_in_front(
    application: Application, origins: Origins, census: Census, prefix: str, page: Type[RequestHandler]
) -> None:
    """Every request passes here before any other handler, whichever extensions were loaded earlier. ``page``: the
    server's own class, which knows who asks."""
    application.default_router.rules.insert(0, Rule(AnyMatches(), _Front(application, origins, census, prefix, page)))


class _Front(Router):
    def __init__(
        self, application: Application, origins: Origins, census: Census, prefix: str, page: Type[RequestHandler]
    ) -> None:
        self._application = application
        self._origins = origins
        self._census = census
        self._prefix = prefix
        self._page = page
        self._known: Optional[HTTPServerRequest] = None

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Optional[HTTPMessageDelegate]:
        """None lets the request pass on to the rules behind this one."""
        if request is self._known:
            return None
        origin, page = origin_of(request.headers), page_of(request.headers)
        is_refused = self._origins.is_foreign(page, request.headers.get("Host", ""))
        if _OUR_OWN not in request.headers:
            caller = getattr(request.connection, "context", None)
            self._count(getattr(caller, "origin", None) or origin, page if is_refused else None)
        if is_refused:
            return self._refuse(request, 403)
        if stream_of(request) is not None and is_large(request.headers):
            return OnlyIfKnown(
                lambda: server_compat.is_known(self._page, self._application, request),
                lambda: self._behind(request),
                lambda: self._refuse(request, 403),
            )
        if request.method == "OPTIONS" and self._origins.allows(origin):
            return self._application.get_handler_delegate(request, Preflight)
        is_upgrade = "websocket" in request.headers.get("Upgrade", "").lower()
        if is_upgrade and request.path.startswith(self._prefix + "proxied_ws/"):
            return self._hand_over(request)
        elsewhere = location(request, self._application.settings.get("local_hostnames", ()))
        if elsewhere is not None:
            headers = {"Location": elsewhere, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
            return Refusal(request, 302, HTTPHeaders(headers))
        return None

    def _count(self, origin: Optional[str], refused: Optional[str]) -> None:
        self._census.count_request(origin, is_allowed=self._origins.allows(origin))
        if refused is not None:
            self._census.count_refused(refused)

    def _behind(self, request: HTTPServerRequest) -> HTTPMessageDelegate:
        self._known = request
        try:
            return self._application.find_handler(request)
        finally:
            self._known = None

    def _hand_over(self, request: HTTPServerRequest) -> HTTPMessageDelegate:
        try:
            return find_target(self._application, request, self._prefix) or self._refuse(request, 404)
        except WrongAuthUrl:
            return self._refuse(request, 403)

    def _refuse(self, request: HTTPServerRequest, status: int) -> HTTPMessageDelegate:
        headers = HTTPHeaders()
        set_headers(headers, self._origins, request.headers)
        return Refusal(request, status, headers)
