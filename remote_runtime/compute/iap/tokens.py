"""An access token that is valid now, for each connection to the relay."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..client import auth_errors, credentials
from ..client.transport_errors import unsent_error
from .websocket import ConnectionLost

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from requests.adapters import HTTPAdapter

_REQUEST_TIMEOUT_S = 10.0


class AccessTokens:
    """``url``: the relay's."""

    def __init__(self, environ: Mapping[str, str], url: str) -> None:
        self._environ = environ
        self._url = url.replace("ws", "http", 1)
        self._identity: credentials.Identity | None = None

    def get(self, *, renew: bool) -> str | None:
        """None where the environment asks for no credentials. ``renew``: the one before was refused.

        Raises ``CloudError`` ``no-credentials``, and ``Broken`` when Google's sign-in does not answer."""
        if renew or self._identity is None or self._identity.credentials.expiry is None:
            self._identity = credentials.load(self._environ, self._url)  # files may say another thing by now
        google_credentials = self._identity.credentials
        try:
            if not google_credentials.valid:
                _refresh(google_credentials)
        except Exception as error:
            if not auth_errors.raised_while_refreshing(error):
                raise
            if unsendable := unsent_error(error):
                raise unsendable from None
            if auth_errors.is_transient(error):
                raise ConnectionLost(f"Google's sign-in does not answer: {auth_errors.safe_message(error)}") from None
            identity = self._identity
            # Not "from error": its words may have what the credentials are.
            raise auth_errors.credentials_error(
                error, project="", renew_hint=identity.renew_hint, acts_as=identity.acts_as
            ) from None
        return google_credentials.token


def _refresh(google_credentials: Credentials) -> None:
    import requests
    from google.auth.transport.requests import Request

    with requests.Session() as session:
        # Plain HTTP is for this computer and its metadata server only (``credentials.load``): never through a proxy.
        session.mount("http://", no_proxy_adapter())
        request = functools.partial(Request(session), timeout=_REQUEST_TIMEOUT_S)
        google_credentials.refresh(request)  # type: ignore[no-untyped-call]  # google-auth types it in part


def no_proxy_adapter() -> HTTPAdapter:
    """Sends to where it is told, whatever proxy the environment names."""
    from requests.adapters import HTTPAdapter

    class NoProxyAdapter(HTTPAdapter):
        def send(self, request: Any, *args: Any, **options: Any) -> Any:
            return super().send(request, *args, **{**options, "proxies": {}})

    return NoProxyAdapter()
