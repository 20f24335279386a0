"""``/api/remote-runtime/identity``: proves that this server knows its token, to somebody who must not send it yet."""

from __future__ import annotations

import hashlib
import hmac
import re

from tornado.web import RequestHandler

from . import __version__
from .stack import open_to_unauthenticated, server_token

_NONCE = re.compile(r"[0-9A-Fa-f]{32,128}")
_PURPOSE = b"remote-runtime-identity:"


def proof(token: str, nonce: str) -> str:
    """Hex HMAC-SHA256 of the nonce under the token; the purpose keeps it from meaning anything elsewhere."""
    return hmac.new(token.encode("utf-8"), _PURPOSE + nonce.encode("ascii"), hashlib.sha256).hexdigest()


class IdentityHandler(RequestHandler):
    """Asked on each new connection before anything else goes through it: no authentication, no cookies."""

    @open_to_unauthenticated
    def get(self) -> None:
        nonce = self.get_query_argument("nonce", "", strip=False)
        token = server_token(self.settings)
        self.set_header("Cache-Control", "no-store")
        if _NONCE.fullmatch(nonce) is None:
            self._refuse(400, "nonce must be 32 to 128 hexadecimal characters")
        elif not token:
            self._refuse(404, "this server has no token")
        else:
            self.finish({"hmac": proof(token, nonce), "bridge": __version__})

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish({"message": message})
