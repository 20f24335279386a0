"""``/api/remote-runtime/identity``: proves that this server knows its token, to who must not send it yet.

With ``at`` in the query the proof also covers where the connection arrived. Who listens in this server's place and
passes the question on gets a proof for another address, which is worth nothing.
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


# A proof tells enough to try tokens without asking the server again: a shorter one would soon be found.
MIN_TOKEN_CHARS = 16


def proof(token: str, nonce: str, at: str = "") -> str:
    """Hex HMAC-SHA256 of the nonce under the token; the purpose keeps it from meaning anything elsewhere.

    ``at``: where the connection arrived, empty for a proof that is good anywhere.
    """
    message = _PURPOSE + nonce.encode("ascii") + (b"@" + at.encode() if at else b"")
    return hmac.new(token.encode("utf-8"), message, hashlib.sha256).hexdigest()


def local_address(connection: Any) -> str:
    """``ADDRESS:PORT`` of this end of a TCP connection, the path of a unix socket; IPv4 in IPv6 is IPv4."""
    name = connection.getsockname()
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return str(name)
    host = name[0][len("::ffff:") :] if name[0].startswith("::ffff:") else name[0]
    return f"{host}:{name[1]}"


class IdentityHandler(RequestHandler):
    """Asked on each new connection before anything else goes through it: no authentication, no cookies."""

    @open_to_unauthenticated
    def get(self) -> None:
        nonce = self.get_query_argument("nonce", "", strip=False)
        token, stream = server_token(self.settings), stream_of(self.request)
        self.set_header("Cache-Control", "no-store")
        if not is_local_name(self.request.headers.get("Host", ""), self.settings.get("local_hostnames", ())):
            self._refuse(403, "the Host header names another computer")
        elif _NONCE.fullmatch(nonce) is None:
            self._refuse(400, "nonce must be 32 to 128 hexadecimal characters")
        elif len(token) < MIN_TOKEN_CHARS:
            self._refuse(404, f"this server has no token of {MIN_TOKEN_CHARS} or more characters")
        else:
            is_bound = bool(self.get_query_argument("at", "")) and stream is not None
            at = local_address(stream.socket) if is_bound else ""
            self.finish({"hmac": proof(token, nonce, at), "bridge": __version__})

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish({"message": message})
