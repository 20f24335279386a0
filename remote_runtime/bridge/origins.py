"""Which web pages may use this server: the origins it was started for, and pages served from this computer itself."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, List, Mapping, Optional
from urllib.parse import urlsplit

COLAB_ORIGIN = "https://colab.research.google.com"


class Origins:
    """Judges ``Origin`` headers by the server's own ``allow_origin`` and ``allow_origin_pat``, read at each question.

    A wildcard or nothing at all means Colab's origin only: a token in a URL must not be usable from any page.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def listed(self) -> List[str]:
        """For people: the exact origin, or the pattern between slashes."""
        exact = self._exact()
        if exact:
            return [exact]
        pattern = self._pattern()
        return [f"/{pattern}/"] if pattern else [COLAB_ORIGIN]

    def allows(self, origin: Optional[str]) -> bool:
        """Whether this is one of the pages that the server was started for."""
        if not origin:
            return False
        exact = self._exact()
        if exact:
            return origin == exact
        pattern = self._pattern()
        if pattern:
            return re.fullmatch(pattern, origin) is not None
        return origin == COLAB_ORIGIN

    def is_foreign(self, origin: Optional[str], host: str) -> bool:
        """Whether a request is from a page that is neither allowed, nor of this computer, nor of this server.

        ``host``: the request's Host header; whether that name is acceptable is checked by the server's handlers.
        """
        if origin is None or self.allows(origin):
            return False
        return not _is_loopback(origin) and not _is_same(origin, host)

    def _exact(self) -> str:
        configured = str(self._settings.get("allow_origin") or "")
        return "" if configured == "*" else configured.rstrip("/")

    def _pattern(self) -> str:
        configured = self._settings.get("allow_origin_pat") or ""
        return str(getattr(configured, "pattern", configured))


def origin_of(headers: Mapping[str, str]) -> Optional[str]:
    """The page that a request comes from, None when the request names none (curl, a script, an old GET)."""
    origin = headers.get("Origin")
    return origin if origin is not None else headers.get("Sec-Websocket-Origin")


def _is_loopback(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" != origin or "@" in origin:
            return False
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_same(origin: str, host: str) -> bool:
    return bool(host) and origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
