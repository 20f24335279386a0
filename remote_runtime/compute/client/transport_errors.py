"""Why a request was never sent: the proxy or the certificates that the environment names cannot be used.

requests and urllib3 raise exceptions of any kind then, which repeat parts of a proxy's address, its password included.
So the variables are looked at here, and neither those words nor a value are shown.
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
    """It, and what it comes from."""
    links = [exc]
    while (inner := links[-1].__cause__ or links[-1].__context__) is not None and inner not in links:
        links.append(inner)
    return links


def unsent_error(exc: BaseException, environ: Mapping[str, str] = os.environ) -> CloudError | None:
    """``cloud-unreachable`` for what kept a request from being sent at all; None for all else. ``environ``: the one
    that requests reads, which is this process's."""
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
    return CloudError("cloud-unreachable", "Requests to Google cannot be sent", why or type(exc).__name__, hint)


def is_proxy_url(address: str) -> bool:
    """Whether it is an address that can be read in one way, of a kind of proxy that needs no other package."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, _ = parts.hostname or "", parts.port
        host.encode("ascii" if ":" in host else "idna")
    except ValueError:  # UnicodeError too
        return False
    # A / or # in a password ends the host's part of a URL.
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
    # google-auth's session calls, and is called by, requests: whose code raised it?
    raised_by = [name for name in modules if name.startswith(("google.", *HTTP_LIBRARIES))][-1:]
    return any(name.startswith(HTTP_LIBRARIES) for name in raised_by)
