"""The local endpoint of a runtime: verifies the server's identity, sends requests that are bounded in time and size."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...core.deadline import Deadline
from ...core.errors import HealthError
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Secret, Server
from ...core.sanitize import clean_line
from ...tunnel.identity import verify_identity
from ...tunnel.relay import SocketStream

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

MAX_RESPONSE_BYTES = 4 << 20
# The bridge does not count such requests as a page's.
OWN_REQUEST_HEADERS = {"X-Remote-Runtime": "check"}


@fast_dataclass(frozen=True)
class Endpoint:
    """A port of this computer, the token that the server must know, the origins that it must serve.
    ``connect(timeout_s)`` opens a connection that is not counted as a client's, and raises ``OSError``. ``attached``:
    the server, if the user runs it."""

    port: int
    token: Secret
    origins: tuple[str, ...]
    connect: Callable[[float], socket.socket] | None = None
    attached: Server | None = None

    @property
    def can_prove_identity(self) -> bool:
        """Whether the server can authenticate itself."""
        return self.attached is None or self.attached.can_prove_identity

    def open(self, timeout_s: float) -> socket.socket:
        if self.connect is not None:
            return self.connect(timeout_s)
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)


def verify(endpoint: Endpoint, deadline: Deadline) -> float:
    """The server must prove its identity; one that cannot must at least be a Jupyter server, and gets no token. Returns
    the milliseconds it took. Raises as ``verify_identity``."""
    began = time.monotonic()
    if not endpoint.can_prove_identity:
        response = request(replace(endpoint, token=Secret("")), "GET", "/api", {}, deadline)
        document = response.document()
        if response.status != 200 or not isinstance(document, dict) or "version" not in document:
            why = f"GET /api: status {response.status}"
            raise HealthError("stranger-answered", "An unknown process is listening in the place of Jupyter", why)
        return (time.monotonic() - began) * 1000
    try:
        connection = endpoint.open(max(0.1, deadline.remaining_s()))
    except OSError as error:
        raise HealthError(
            "not-answering", f"Can't connect to local port {endpoint.port}", error.strerror or str(error)
        ) from error
    with contextlib.closing(SocketStream(connection)) as stream:
        verify_identity(
            stream, endpoint.token, deadline, endpoint.attached.required_listen_address if endpoint.attached else ""
        )
    return (time.monotonic() - began) * 1000


@fast_dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def allows(self, origin: str) -> bool:
        return self.headers.get("access-control-allow-origin") == origin


def request(
    endpoint: Endpoint,
    method: str,
    path: str,
    headers: Mapping[str, str],
    deadline: Deadline,
    body: bytes | None = None,
) -> Response:
    """Sends the token, and reads a bounded response. Raises ``HealthError`` ``not-answering``."""
    import http.client

    deadline.check()
    connection = http.client.HTTPConnection("localhost", endpoint.port, timeout=max(0.1, deadline.remaining_s()))
    try:
        connection.sock = endpoint.open(max(0.1, deadline.remaining_s()))
        token = endpoint.token.reveal()
        target = f"{path}?token={quote(token, safe='')}" if token else path
        connection.request(method, target, body, headers={**OWN_REQUEST_HEADERS, **headers})
        with _shut_down_at(deadline, connection.sock):
            response = connection.getresponse()
            content = response.read(MAX_RESPONSE_BYTES + 1)
        if deadline.passed():
            raise TimeoutError
        if len(content) > MAX_RESPONSE_BYTES:
            what = f"Jupyter's response is longer than {MAX_RESPONSE_BYTES >> 20} MiB"
            raise HealthError("not-answering", what, f"{method} {path}")
        if response.length:
            raise http.client.IncompleteRead(content, response.length)
        return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
    except TimeoutError as error:
        raise HealthError(
            "not-answering", "Jupyter accepts connections but does not respond", f"{method} {path} timed out"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise HealthError(
            "not-answering",
            "The connection to Jupyter was lost",
            clean_line(f"{method} {path}: {_error_text(error)}", 200),
        ) from error
    finally:
        connection.close()


def open_websocket(endpoint: Endpoint, path: str, origin: str, timeout_s: float) -> ClientConnection:
    """Connects to ``path`` as a page of ``origin`` does. Raises ``OSError`` and ``WebSocketException``."""
    from websockets.sync.client import connect
    from websockets.typing import Origin

    return connect(
        f"ws://localhost:{endpoint.port}{path}",
        sock=endpoint.open(timeout_s),
        origin=Origin(origin),
        additional_headers=OWN_REQUEST_HEADERS,
        open_timeout=timeout_s,
        close_timeout=2,
        proxy=None,
        max_size=MAX_RESPONSE_BYTES,
    )


def _error_text(error: Exception) -> str:
    """``http.client``'s exceptions may repeat the response."""
    return error.strerror or str(error) if isinstance(error, OSError) else type(error).__name__


@contextlib.contextmanager
def _shut_down_at(deadline: Deadline, connection: socket.socket) -> Iterator[None]:
    """Ends the connection at the deadline: a socket's own timeout restarts with every byte."""

    def end() -> None:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(deadline.remaining_s(), end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
