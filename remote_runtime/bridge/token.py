"""``POST /api/remote-runtime/token``: replaces the server's token while its kernels keep running."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from tornado.escape import json_decode
from tornado.web import HTTPError, RequestHandler, authenticated

from .server_compat import server_token, set_server_token

_TOKEN = re.compile(r"[0-9a-f]{48}")


class TokenHandler(RequestHandler):
    """Mixed with the server's own API handler, which authenticates with the current token.

    The body is ``{"token": T}`` with 48 hexadecimal digits. The previous token and all login cookies become invalid.
    Answers 204; 400 for another body, 409 for a server without a token.
    """

    _track_activity = False

    def initialize(self, server_app: Any) -> None:
        self._server_app = server_app

    @authenticated
    def post(self) -> None:
        try:
            body = json_decode(self.request.body)
        except ValueError:
            body = None
        token = body.get("token") if isinstance(body, dict) else None
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            raise HTTPError(400, "expected a token of 48 hexadecimal digits")
        if not server_token(self.settings):
            raise HTTPError(409, "this server has no token")
        for stream in (sys.stdout, sys.stderr):  # the launcher's streams hide the token from the log
            hide = getattr(stream, "hide", None)
            if callable(hide):
                hide(token)
        set_server_token(self._server_app, token)
        self.settings["cookie_secret"] = os.urandom(32)
        self._server_app.write_server_info_file()
        self.set_status(204)
        self.finish()
