"""An access token that is valid now, for each connection to the relay."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..client import auth_errors, credentials
from ..client.transport_errors import unsent
from .websocket import Broken

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from requests.adapters import HTTPAdapter

_REQUEST_S = 10.0


class Tokens:
    """``url``: the relay's."""

    def __init__(self, environ: Mapping[str, str], url: str) -> None:
        self._environ = environ
        self._url = url.replace("ws", "http", 1)
        self._identity: credentials.Identity | None = None

    def fresh(self, *, renew: bool) -> str | None:
        """None where the environment asks for no credentials. ``renew``: the one before was refused.

        Raises ``CloudError`` ``no-credentials``, and ``Broken`` when Google's sign-in does not answer."""
        if renew or self._identity is None or self._identity.credentials.expiry is None:
            self._identity = credentials.load(self._environ, self._url)  # files may say another thing by now
        holder = self._identity.credentials
        try:
            if not holder.valid:
                _refresh(holder)
        except Exception as error:
            if not auth_errors.while_renewing(error):
                raise
            if unsendable := unsent(error):
                raise unsendable from None
            if auth_errors.is_passing(error):
                raise Broken(f"Google's sign-in does not answer: {auth_errors.words(error)}") from None
            identity = self._identity
            # Not "from error": its words may have what the credentials are.
            raise auth_errors.refused(error, project="", renew=identity.renew, acts_as=identity.acts_as) from None
        return holder.token


def _refresh(holder: Credentials) -> None:
    import requests
    from google.auth.transport.requests import Request

    with requests.Session() as session:
        # Plain HTTP is for this computer and its metadata server only (``credentials.load``): never through a proxy.
        session.mount("http://", direct())
        request = functools.partial(Request(session), timeout=_REQUEST_S)
        holder.refresh(request)  # type: ignore[no-untyped-call]  # google-auth types it in part


def direct() -> HTTPAdapter:
    """Sends to where it is told, whatever proxy the environment names."""
    from requests.adapters import HTTPAdapter

    class Direct(HTTPAdapter):
        def send(self, request: Any, *args: Any, **options: Any) -> Any:
            return super().send(request, *args, **{**options, "proxies": {}})

    return Direct()
