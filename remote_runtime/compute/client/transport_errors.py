"""Explains requests that could not be sent because the environment's proxy or certificates cannot be used.

requests and urllib3 raise various exceptions then, with parts of the proxy's address, even its password. So this module
inspects the variables, and shows neither those messages nor a value.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from urllib.parse import urlsplit

from ...core.errors import CloudError

PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY")
BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
HTTP_LIBRARIES = ("requests.", "urllib3.")


def exception_chain(exc: BaseException) -> list[BaseException]:
    """``exc`` and its causes."""
    links = [exc]
    while (inner := links[-1].__cause__ or links[-1].__context__) is not None and inner not in links:
        links.append(inner)
    return links


def unsent_error(exc: BaseException, environ: Mapping[str, str] = os.environ) -> CloudError | None:
    """``cloud-unreachable`` for a request that could not be sent; None for all other exceptions. ``environ``: the
    environment that requests reads, which is this process's."""
    if not _is_unsent(exc):
        return None
    why, hint = "", ""
    proxies = [name for name in PROXY_VARIABLES if environ.get(name)]
    bundle = next((name for name in BUNDLE_VARIABLES if environ.get(name)), "")
    if bundle and not os.path.exists(environ[bundle]):
        why = f"{bundle} does not name a file that exists"
        hint = f"Set {bundle} to a file of certificates, or unset it"
    elif proxy := next((name for name in proxies if not is_proxy_url(environ[name])), ""):
        why = f"{proxy} is not the address of an HTTP proxy"
        hint = f"Set {proxy} to http://HOST:PORT, with a URL-encoded USER:PASSWORD@ before HOST if needed, or unset it"
    return CloudError("cloud-unreachable", "Can't send requests to Google", why or type(exc).__name__, hint)


def is_proxy_url(address: str) -> bool:
    """True for the address of an HTTP proxy that every URL parser reads in the same way."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, _ = parts.hostname or "", parts.port
        host.encode("ascii" if ":" in host else "idna")
    except ValueError:  # UnicodeError too
        return False
    # An unescaped / or # in a password ends the host part of a URL.
    is_bare = not (parts.path.strip("/") or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and is_bare and host.isprintable() and bool(host) and " " not in host


def _is_unsent(exc: BaseException) -> bool:
    import requests.exceptions
    import urllib3.exceptions

    unusable = (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        urllib3.exceptions.LocationValueError,
    )
    if any(isinstance(link, unusable) for link in exception_chain(exc)):
        return True
    if isinstance(exc, (requests.exceptions.RequestException, urllib3.exceptions.HTTPError)):
        return False
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(exc.__traceback__)]
    # google-auth's session calls requests and is called by it: find whose code raised it.
    raised_by = [name for name in modules if name.startswith(("google.", *HTTP_LIBRARIES))][-1:]
    return any(name.startswith(HTTP_LIBRARIES) for name in raised_by)
