"""``/api/remote-runtime/identity``: proves that this server knows its token, to clients that have not sent it yet.

With ``at`` in the query the proof covers the address where the connection arrived, too: a program that listens in this
server's place and relays the request gets a proof for another address.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
from typing import Any

from tornado.web import RequestHandler

from . import __version__
from .origins import is_local_name
from .request_guard import stream_of
from .server_compat import open_to_unauthenticated, server_token

_NONCE = re.compile(r"[0-9A-Fa-f]{32,128}")
_PURPOSE = b"remote-runtime-identity:"


# With a proof, tokens can be tried offline: a shorter one would be found soon.
MIN_TOKEN_CHARS = 16


def proof(token: str, nonce: str, at: str = "") -> str:
    """Hex HMAC-SHA256 of purpose and nonce with the token as key. ``at``: where the connection arrived, empty for a
    proof without an address."""
    message = _PURPOSE + nonce.encode("ascii") + (b"@" + at.encode() if at else b"")
    return hmac.new(token.encode("utf-8"), message, hashlib.sha256).hexdigest()


def bound_address(handler: RequestHandler) -> str:
    """Where the connection arrived if ``at`` in the query asks for a proof of it; else empty."""
    stream = stream_of(handler.request)
    if stream is None or not handler.get_query_argument("at", ""):
        return ""
    return getattr(stream, "arrived_at", "") or local_address(stream.socket)


def local_address(connection: Any) -> str:
    """``ADDRESS:PORT`` of this end of a TCP connection, or the path of a unix socket; mapped IPv4 as IPv4."""
    name = connection.getsockname()
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return str(name)
    host = name[0][len("::ffff:") :] if name[0].startswith("::ffff:") else name[0]
    return f"{host}:{name[1]}"


class IdentityHandler(RequestHandler):
    """Requested on each new connection before anything else: no authentication, no cookies."""

    @open_to_unauthenticated
    def get(self) -> None:
        nonce = self.get_query_argument("nonce", "", strip=False)
        token = server_token(self.settings)
        self.set_header("Cache-Control", "no-store")
        if not is_local_name(self.request.headers.get("Host", ""), self.settings.get("local_hostnames", ())):
            self._refuse(403, "the Host header is not a name of this computer")
        elif _NONCE.fullmatch(nonce) is None:
            self._refuse(400, "nonce must be 32 to 128 hexadecimal characters")
        elif len(token) < MIN_TOKEN_CHARS:
            self._refuse(404, f"this server has no token of {MIN_TOKEN_CHARS} or more characters")
        else:
            self.finish({"hmac": proof(token, nonce, bound_address(self)), "bridge": __version__})

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish({"message": message})
