"""The first rule of the application's router: who is refused, what is preflight, what is handed over. Else nothing."""

from __future__ import annotations

from typing import Any, Dict, Optional

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import AnyMatches, Router, Rule
from tornado.web import Application

from .census import Census
from .cors import Preflight, Refused
from .credentials import WrongAuthUrl
from .origins import Origins, origin_of
from .proxied import find_target

# The keeper's checks say what a page would say, and are none.
_OUR_OWN = "X-Remote-Runtime"
_HARMLESS_METHODS = ("GET", "HEAD", "OPTIONS")


def stand_in_front(application: Application, origins: Origins, census: Census, prefix: str) -> None:
    """Every request passes here before any other handler, whichever extensions were loaded earlier."""
    application.default_router.rules.insert(0, Rule(AnyMatches(), _Front(application, origins, census, prefix)))


class _Front(Router):
    def __init__(self, application: Application, origins: Origins, census: Census, prefix: str) -> None:
        self._application = application
        self._origins = origins
        self._census = census
        self._prefix = prefix

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Optional[HTTPMessageDelegate]:
        """None lets the request pass on to the rules behind this one."""
        caller = getattr(request.connection, "context", None)
        origin = origin_of(request.headers)
        if _OUR_OWN not in request.headers:
            self._census.count_request(getattr(caller, "origin", None) or origin)
        is_upgrade = "websocket" in request.headers.get("Upgrade", "").lower()
        matters = is_upgrade or request.method not in _HARMLESS_METHODS
        if matters and self._origins.is_foreign(origin, request.headers.get("Host", "")):
            return self._refuse(request, 403)
        if request.method == "OPTIONS" and self._origins.allows(origin):
            return self._application.get_handler_delegate(request, Preflight)
        if is_upgrade and request.path.startswith(self._prefix + "proxied_ws/"):
            return self._hand_over(request)
        return None

    def _hand_over(self, request: HTTPServerRequest) -> HTTPMessageDelegate:
        try:
            return find_target(self._application, request, self._prefix) or self._refuse(request, 404)
        except WrongAuthUrl:
            return self._refuse(request, 403)

    def _refuse(self, request: HTTPServerRequest, status: int) -> HTTPMessageDelegate:
        arguments: Dict[str, Any] = {"status": status}
        return self._application.get_handler_delegate(request, Refused, arguments)
