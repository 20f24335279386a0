"""Google's service that lends one account's credentials to another."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Iam:
    """iamcredentials.googleapis.com, as far as impersonation goes. ``refuses``: as for an account without the role.
    ``says``: another status and answer."""

    def __init__(self) -> None:
        self.refuses = False
        self.says: tuple[int, Any] | None = None
        self.asked: list[tuple[str, str | None, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, self.headers["Authorization"], body))
                status, answer = outer.answer()
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def answer(self) -> tuple[int, Any]:
        if self.says is not None:
            return self.says
        if self.refuses:
            said = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
            return 403, {"error": {"code": 403, "message": said, "status": "PERMISSION_DENIED"}}
        return 200, {"accessToken": "ya29.acting", "expireTime": "2099-01-01T00:00:00Z"}


@contextmanager
def running_iam() -> Iterator[Iam]:
    service = Iam()
    try:
        yield service
    finally:
        service.server.shutdown()
        service.server.server_close()
