"""The credentials in a WebSocket's query, and the bridge's own parameters there."""

from __future__ import annotations

from typing import Mapping, Optional, Tuple
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlsplit

AUTH_URL = "jupyter_http_over_ws_auth_url"
MIN_VERSION = "min_version"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class WrongAuthUrl(ValueError):
    """The auth URL is not a URL of this server. The message must not contain it: it carries a token."""


def authorization(query: str, headers: Mapping[str, str], scheme: str) -> Optional[str]:
    """The ``Authorization`` header for the requests over a WebSocket, None if it has no credentials.

    The token is taken from the auth URL; without one, from the query's ``token``; else the request's own
    ``Authorization`` is used. Raises ``WrongAuthUrl`` unless the auth URL has this server's scheme, host and port as
    the client sees them (``scheme`` and the Host header).
    """
    auth_url = last_value(query, AUTH_URL)
    if auth_url is None:
        token = last_value(query, "token")
        if token:
            # A token that cannot be sent in a header cannot be valid.
            return f"token {token}" if token.isprintable() else None
        return headers.get("Authorization")
    try:
        if _address(auth_url) != _address(f"{scheme}://{headers.get('Host', '')}/"):
            raise WrongAuthUrl("the auth URL belongs to another server")
        token = last_value(urlsplit(auth_url).query, "token")
    except ValueError as exc:
        raise WrongAuthUrl("the auth URL is not a URL of this server") from exc
    if token is not None and not token.isprintable():
        raise WrongAuthUrl("the auth URL's token can't be sent in a header")
    return f"token {token}" if token else None


def last_value(query: str, name: str) -> Optional[str]:
    """The last value of a parameter of the query."""
    values = parse_qs(query, keep_blank_values=True).get(name)
    return values[-1] if values else None


def without_our_parameters(query: str) -> str:
    """The query without the bridge's parameters; the others keep their text and order."""
    ours = (AUTH_URL, MIN_VERSION)
    return "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in ours)


def arguments(query: str) -> "dict[str, list[bytes]]":
    """A query as tornado keeps it in a request's ``arguments``."""
    values: dict[str, list[bytes]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, encoding="latin1", errors="strict"):
        values.setdefault(name, []).append(value.encode("latin1"))
    return values


def _address(url: str) -> Tuple[str, str, Optional[int]]:
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        raise WrongAuthUrl("not an http or https URL")
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]
