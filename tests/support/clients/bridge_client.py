"""Colab's page as a client: plain HTTP with an Origin, and requests carried by the bridge's WebSocket."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from ..servers.jupyter import COLAB_ORIGIN, REPOSITORY, JupyterServer

LIMIT_S = 20.0
MAX_FRAME_BYTES = 1 << 20


@dataclass
class Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    pieces: list[dict[str, Any]] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


def odd_server(**wanted: Any) -> JupyterServer:
    """A server with the bridge and the odd pages: our environment's, or that of the interpreter that
    ``BRIDGE_TEST_PYTHON`` names (with ``BRIDGE_TEST_CLASSIC`` its notebook 6), to run the tests on older Jupyters."""
    python = os.environ.get("BRIDGE_TEST_PYTHON", sys.executable)
    classic = bool(os.environ.get("BRIDGE_TEST_CLASSIC"))
    pages = REPOSITORY / "tests" / "support" / "servers"
    return JupyterServer(python=python, classic=classic, extensions=("odd_extension",), python_path=(pages,), **wanted)


def http_request(
    server: JupyterServer,
    method: str,
    path: str,
    *,
    origin: str | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """One direct request; ``headers`` of the answer have lower-case names."""
    sent = dict(headers or {})
    if origin is not None:
        sent["Origin"] = origin
    if token is not None:
        sent["Authorization"] = f"token {token}"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    try:
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        names = {name.lower() for name in answer.headers}
        found = {name: ", ".join(answer.headers.get_all(name) or []) for name in names}
        return Answer(answer.status, answer.reason, found, answer.read())
    finally:
        connection.close()


@contextmanager
def open_socket(
    server: JupyterServer,
    path: str,
    *,
    origin: str | None = COLAB_ORIGIN,
    auth_url: str | None = "",
    query: Mapping[str, str] | None = None,
    host: str | None = None,
    **wanted: Any,
) -> Iterator[ClientConnection]:
    """A WebSocket as the page opens it; ``auth_url``: empty for the server's own, None for none. ``host``: the name
    and port that the page knows the server by."""
    found = dict(query or {})
    if auth_url is not None:
        found["jupyter_http_over_ws_auth_url"] = auth_url or server.url
    uri = f"ws://{host or f'127.0.0.1:{server.port}'}{path}" + (f"?{urlencode(found)}" if found else "")
    tcp = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S)
    connecting = connect(
        uri,
        sock=tcp,
        origin=None if origin is None else Origin(origin),
        open_timeout=LIMIT_S,
        close_timeout=LIMIT_S,
        max_size=MAX_FRAME_BYTES,
        proxy=None,
        **wanted,
    )
    with connecting as opened:
        yield opened


class BridgeSocket:
    """Requests over one bridge socket, answers collected by their id."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._ids = itertools.count()
        self._pieces: dict[Any, list[dict[str, Any]]] = {}

    def request(self, method: str, path: str, **rest: Any) -> Answer:
        return self.answer(self.ask(method, path, **rest))

    def ask(self, method: str, path: str, **rest: Any) -> str:
        """Send a request without waiting; its id. ``rest``: ``body`` or ``body_base64``."""
        message_id = f"m{next(self._ids)}"
        self.socket.send(json.dumps({"path": path, "method": method, "message_id": message_id, **rest}))
        return message_id

    def answer(self, message_id: Any) -> Answer:
        """The whole answer; pieces of other answers that arrive before its end are kept for them."""
        while not any(piece["done"] for piece in self._pieces.get(message_id, [])):
            piece = self.receive()
            self._pieces.setdefault(piece.get("message_id"), []).append(piece)
        pieces = self._pieces.pop(message_id)
        head = pieces[0]
        body = b"".join(base64.b64decode(piece.get("data", "")) for piece in pieces)
        return Answer(head["status"], head["statusText"], head.get("headers", {}), body, pieces)

    def receive(self) -> dict[str, Any]:
        message = json.loads(self.socket.recv(timeout=LIMIT_S))
        assert isinstance(message, dict)
        return message


@contextmanager
def open_page(server: JupyterServer, **wanted: Any) -> Iterator[BridgeSocket]:
    """The page's bridge socket."""
    with open_socket(server, "/http_over_websocket", **wanted) as opened:
        yield BridgeSocket(opened)


def as_binary(message: Mapping[str, Any]) -> bytes:
    """A kernel message without buffers in the form for those that have some: their number, offsets, JSON."""
    return struct.pack("!II", 1, 8) + json.dumps(message).encode()


def auth_url_of(server: JupyterServer, *, host: str) -> str:
    """The auth URL of a page that knows the server under another name."""
    return f"http://{host}/?token={quote(server.token)}"
