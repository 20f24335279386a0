"""CORS: answers preflights on every path, and adds the headers to every answer, errors included."""

from __future__ import annotations

from typing import Mapping, Type

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform, RequestHandler

from .origins import Origins, origin_of, page_of
from .server_compat import open_to_unauthenticated

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_PREFLIGHT_LIFETIME_S = 600


class Preflight(RequestHandler):
    """Answers OPTIONS on any path. The router has checked the origin; ``CorsTransform`` adds the headers for it."""

    SUPPORTED_METHODS = ("OPTIONS",)

    def check_xsrf_cookie(self) -> None:
        """Not needed: a preflight carries no credentials and changes nothing."""

    @open_to_unauthenticated
    def options(self, *args: str, **kwargs: str) -> None:
        self.set_status(204)
        self.set_header("Access-Control-Allow-Methods", _METHODS)
        self.set_header("Access-Control-Max-Age", str(_PREFLIGHT_LIFETIME_S))
        headers = self.request.headers.get("Access-Control-Request-Headers")
        if headers:
            self.set_header("Access-Control-Allow-Headers", headers)
        if self.request.headers.get("Access-Control-Request-Private-Network") == "true":
            self.set_header("Access-Control-Allow-Private-Network", "true")


def cors_transform(origins: Origins) -> Type[OutputTransform]:
    """For ``Application.add_transform``: tornado applies it to every answer, errors and redirects included."""

    class CorsTransform(OutputTransform):
        def __init__(self, request: HTTPServerRequest) -> None:
            self._request = request.headers

        def transform_first_chunk(
            self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
        ) -> "tuple[int, HTTPHeaders, bytes]":
            if status_code != 101:
                set_headers(headers, origins, self._request)
                # It protects browsers without Sec-Fetch-Site from inclusion by pages of other sites.
                policy = "cross-origin" if origins.allows(page_of(self._request)) else "same-site"
                headers["Cross-Origin-Resource-Policy"] = policy
            return status_code, headers, chunk

    return CorsTransform


def set_headers(headers: HTTPHeaders, origins: Origins, request: Mapping[str, str]) -> None:
    """Set the CORS headers in an answer's ``headers``, depending on those of its ``request``."""
    origin, host = origin_of(request), request.get("Host", "")
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
