"""Which web pages may use this server: those of the configured origins, and its own."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Iterable, List, Mapping, Optional
from urllib.parse import urlsplit

COLAB_ORIGIN = "https://colab.research.google.com"
COLAB_ORIGINS = (COLAB_ORIGIN, "https://colab.google.com")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins allowed by the server's ``allow_origin`` and ``allow_origin_pat``, which are read at each call.

    A wildcard or no setting allows Colab's origins only: a token in a URL must not be usable from any page.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def listed(self) -> List[str]:
        """For people: the exact origins, or the pattern between slashes."""
        exact = self._exact()
        if exact:
            return [exact]
        pattern = self._pattern()
        return [f"/{pattern}/"] if pattern else list(COLAB_ORIGINS)

    def allows(self, origin: Optional[str]) -> bool:
        """Whether pages of this origin may use the server."""
        if not origin:
            return False
        exact = self._exact()
        if exact:
            return origin == exact
        pattern = self._pattern()
        if pattern:
            return re.fullmatch(pattern, origin) is not None
        return origin in COLAB_ORIGINS

    def is_foreign(self, page: Optional[str], host: str) -> bool:
        """Whether a request is from a page that is neither allowed nor of this server.

        ``page``: from ``page_of``; ``host``: the request's Host header, which the server's handlers check. Another port
        of this computer is another server.
        """
        if page is None or self.allows(page):
            return False
        return not _is_same(page, host) and not _is_same_port_of_loopback(page, host)

    def _exact(self) -> str:
        configured = str(self._settings.get("allow_origin") or "")
        return "" if configured == "*" else configured.rstrip("/")

    def _pattern(self) -> str:
        configured = self._settings.get("allow_origin_pat") or ""
        return str(getattr(configured, "pattern", configured))


def origin_of(headers: Mapping[str, str]) -> Optional[str]:
    """The origin that a request names, None if it names none (curl, a script, an old GET)."""
    origin = headers.get("Origin")
    return origin if origin is not None else headers.get("Sec-Websocket-Origin")


def page_of(headers: Mapping[str, str]) -> Optional[str]:
    """The origin of the page that caused a request, None if that cannot be a page of another site.

    The request for a script, style or image that a page of another site includes has no Origin; browsers send
    Sec-Fetch-Site (W3C, Fetch Metadata) and the page's origin in Referer; if the page suppresses that, it is ``null``
    here. Navigation by the user, from a link on any page, is allowed.
    """
    origin = origin_of(headers)
    if origin is not None or headers.get("Sec-Fetch-Site") not in ("cross-site", "same-site"):
        return origin
    if headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document":
        return None
    referer = urlsplit(headers.get("Referer", ""))
    return f"{referer.scheme}://{referer.netloc}" if referer.netloc else "null"


def is_local_name(host: str, names: Iterable[str]) -> bool:
    """Whether a Host header names this computer: a loopback address, ``localhost`` or one of the server's ``names``."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name in names or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_same_port_of_loopback(page: str, host: str) -> bool:
    """Whether it is the server's own page, opened by another name of this computer."""
    try:
        parts, asked = urlsplit(page), urlsplit(f"//{host}")
        name = parts.hostname or ""
        if not host or parts.scheme not in _DEFAULT_PORTS or f"{parts.scheme}://{parts.netloc}" != page or "@" in page:
            return False
        if (parts.port or _DEFAULT_PORTS[parts.scheme]) != (asked.port or _DEFAULT_PORTS[parts.scheme]):
            return False
    except ValueError:
        return False
    return _is_loopback(name)


def _is_same(origin: str, host: str) -> bool:
    return bool(host) and origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
