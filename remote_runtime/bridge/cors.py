"""What browsers are told about pages of other origins: preflights on every path, and headers that survive errors."""

from __future__ import annotations

from typing import Type

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform, RequestHandler

from .origins import Origins, origin_of
from .stack import open_to_unauthenticated

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_PREFLIGHT_LIFETIME_S = 600


class Preflight(RequestHandler):
    """The answer to OPTIONS on any path. The page's origin is known to be allowed; the transform below says so."""

    SUPPORTED_METHODS = ("OPTIONS",)

    def check_xsrf_cookie(self) -> None:
        """A preflight carries no credentials and changes nothing."""

    @open_to_unauthenticated
    def options(self, *args: str, **kwargs: str) -> None:
        asked = self.request.headers
        self.set_status(204)
        self.set_header("Access-Control-Allow-Methods", _METHODS)
        self.set_header("Access-Control-Max-Age", str(_PREFLIGHT_LIFETIME_S))
        headers = asked.get("Access-Control-Request-Headers")
        if headers:
            self.set_header("Access-Control-Allow-Headers", headers)
        if asked.get("Access-Control-Request-Private-Network") == "true":
            self.set_header("Access-Control-Allow-Private-Network", "true")


class Refused(RequestHandler):
    """403 for a page of a foreign origin, whatever it knows; 404 for a socket that leads nowhere."""

    def initialize(self, status: int) -> None:
        self._status = status

    def check_xsrf_cookie(self) -> None:
        """It is refused anyway."""

    async def prepare(self) -> None:
        self.set_status(self._status)
        self.finish({"message": "Forbidden" if self._status == 403 else "Not Found"})


def cors_transform(origins: Origins) -> Type[OutputTransform]:
    """A transform for the application: tornado applies it to every answer, errors and redirects included."""

    class CorsTransform(OutputTransform):
        def __init__(self, request: HTTPServerRequest) -> None:
            self._origin = origin_of(request.headers)
            self._host = request.headers.get("Host", "")

        def transform_first_chunk(
            self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
        ) -> "tuple[int, HTTPHeaders, bytes]":
            if status_code != 101:
                _set_headers(headers, origins, self._origin, self._host)
            return status_code, headers, chunk

    return CorsTransform


def _set_headers(headers: HTTPHeaders, origins: Origins, origin: "str | None", host: str) -> None:
    varies = headers.get("Vary", "")
    if "origin" not in [name.strip().lower() for name in varies.split(",")]:
        headers["Vary"] = f"{varies}, Origin" if varies else "Origin"
    if origin is not None and origins.allows(origin):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
    elif origins.is_foreign(origin, host):
        # jupyter_server 2 reflects any origin to holders of a token when no origin is configured.
        headers.pop("Access-Control-Allow-Origin", None)
        headers.pop("Access-Control-Allow-Credentials", None)
