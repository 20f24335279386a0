"""Redirects a browser that opens a page with the token at ``localhost`` to the server's own name below it.

The page sets the login cookie, and browsers send a cookie of ``localhost`` to every port of this computer.
"""

from __future__ import annotations

from typing import Iterable, Mapping, Optional

from tornado.httputil import HTTPServerRequest

from .credentials import last_value
from .origins import is_local_name

# They resolve names below ``localhost`` to this computer; Safari did not resolve them before 26.
_BROWSERS = ("Chrome/", "Firefox/")


def redirect_location(request: HTTPServerRequest, names: Iterable[str]) -> Optional[str]:
    """The URL to redirect to, None if there is none. ``names``: the server's ``local_hostnames``."""
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
