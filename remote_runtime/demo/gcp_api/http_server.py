"""JSON over HTTP on 127.0.0.1, for programs that know the prefix and not for web pages."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from .api_errors import ApiError
from .values import Json

MAX_BODY_BYTES = 4 * 1024 * 1024

RequestCallback = Callable[[str, str, Mapping[str, str], "Json | None"], tuple[int, Json]]
"""(HTTP method, path after the prefix and its slash, query, body) → (status, answer). Called from several threads."""


class LoopbackServer:
    """Listens from the moment it is made; ``start`` begins to answer, ``close`` ends it with all connections."""

    def __init__(self, prefix: str, handle: RequestCallback) -> None:
        self._server = _JsonHttpServer(prefix, handle)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="demo-http")

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.end_connections()
        self._server.server_close()


class _JsonHttpServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, prefix: str, handle: RequestCallback) -> None:
        self.prefix = prefix
        self.handle_call = handle
        self._idle: set[BaseHTTPRequestHandler] = set()
        self._idle_lock = threading.Lock()
        self._ended = False
        super().__init__(("127.0.0.1", 0), _JsonHandler)

    def add_idle(self, handler: BaseHTTPRequestHandler) -> None:
        with self._idle_lock:
            self._idle.add(handler)
            if self._ended:
                _shut_down(handler)

    def remove_idle(self, handler: BaseHTTPRequestHandler) -> None:
        with self._idle_lock:
            self._idle.discard(handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that disconnect; shows anything else, which is a bug."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed's union of request types

    def end_connections(self) -> None:
        """Wakes the threads that wait for a request. The others send their answer first."""
        with self._idle_lock:
            self._ended = True
            for handler in self._idle:
                _shut_down(handler)


def _shut_down(handler: BaseHTTPRequestHandler) -> None:
    with contextlib.suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)


class _JsonHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _JsonHttpServer

    def setup(self) -> None:
        super().setup()
        self.server.add_idle(self)

    def finish(self) -> None:
        self.server.remove_idle(self)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: the path contains the secret prefix."""

    def _answer(self) -> None:
        try:
            self._refuse_web_pages()
            path, query = self._address()
            body = self._body()
            self.server.remove_idle(self)
            status, answer = self.server.handle_call(self.command, path, query, body)
        except ApiError as error:
            self.close_connection = True
            status, answer = error.status, error.as_json()
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)
        self.server.add_idle(self)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def _refuse_web_pages(self) -> None:
        """A page of the internet may send requests here: under a name of its own (DNS rebinding), with an Origin, or as
        a form, whose content types are not JSON."""
        port = self.server.server_port
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            raise ApiError(403, "forbidden", "The Host header is not this server's address.")
        if self.headers.get("Origin") is not None:
            raise ApiError(403, "forbidden", "Requests of web pages are not answered.")

    def _address(self) -> tuple[str, dict[str, str]]:
        url = urlsplit(self.path)
        prefix, path = self.server.prefix, unquote(url.path)
        if not path.startswith(f"{prefix}/"):
            raise ApiError(404, "notFound", "The requested URL was not found on this server.")
        return path[len(prefix) + 1 :], _joined(parse_qsl(url.query, keep_blank_values=True))

    def _body(self) -> Json | None:
        if self.command not in ("POST", "PATCH"):
            return None
        try:
            size = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            raise ApiError(400, "badRequest", "The Content-Length is not a number.") from None
        if not 0 <= size <= MAX_BODY_BYTES or self.headers.get("Transfer-Encoding") is not None:
            raise ApiError(413, "uploadTooLarge", "The request is too large.")
        content = self.rfile.read(size)
        if self.headers.get_content_type() != "application/json" and (content or "Content-Type" in self.headers):
            raise ApiError(415, "badRequest", "The content type is not application/json.")
        if not content:
            return None
        try:
            body = json.loads(content)
        except ValueError:
            raise ApiError(400, "parseError", "Parse Error") from None
        if not isinstance(body, dict):
            raise ApiError(400, "parseError", "Parse Error")
        return body


def _joined(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values of a parameter that is repeated are joined by commas."""
    found: dict[str, str] = {}
    for name, value in parameters:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
