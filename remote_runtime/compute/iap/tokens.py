"""An access token that is valid now, for each connection to the relay."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...errors import CloudError
from ...untrusted import clean_line
from .. import credentials
from .wire import Broken

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

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
        import google.auth.exceptions

        if renew or self._identity is None or self._identity.credentials.expiry is None:
            self._identity = credentials.load(self._environ, self._url)  # files may say another thing by now
        holder = self._identity.credentials
        try:
            if not holder.valid:
                _refresh(holder)
        except google.auth.exceptions.GoogleAuthError as error:
            why = clean_line(str(error.args[0] if error.args else error), 300)
            if error.retryable or isinstance(error, google.auth.exceptions.TransportError):
                raise Broken(f"Google's sign-in does not answer: {why}") from error
            raise CloudError(
                "no-credentials", "Google does not accept the credentials", why, self._identity.renew
            ) from error
        return holder.token


def _refresh(holder: Credentials) -> None:
    from google.auth.transport.requests import Request

    request = functools.partial(Request(), timeout=_REQUEST_S)
    holder.refresh(request)  # type: ignore[no-untyped-call]  # google-auth types it in part
