"""Health: what a page of Colab would see through the forwarded port, asked the way the page asks it."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .errors import HealthError, Interrupted, MachineError, RemoteRuntimeError
from .model import Health, Secret, Verdict
from .tunnel.identity import prove
from .tunnel.pump import SocketStream
from .untrusted import clean_line
from .waits import Deadline

FOREIGN_ORIGIN = "https://not-colab.example"
LARGEST_ANSWER = 4 << 20
# What the bridge does not count as a page's.
OUR_OWN = {"X-Remote-Runtime": "check"}
VERDICTS: Mapping[str, Verdict] = {"stranger-answered": "stranger"}


@dataclass(frozen=True)
class Door:
    """Where to knock: a port of this machine, what it should know, and the origins it should serve. ``connect``: how
    to get there in so many seconds, where somebody counts who comes; it raises ``OSError``."""

    port: int
    token: Secret
    origins: tuple[str, ...]
    connect: Callable[[float], socket.socket] | None = None

    def open(self, timeout_s: float) -> socket.socket:
        if self.connect is not None:
            return self.connect(timeout_s)
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)


def wait_until_ready(door: Door, deadline: Deadline) -> Health:
    """Check until everything holds. Raises the last ``HealthError``, or ``MachineError`` ``bridge-not-loaded``."""
    while True:
        try:
            return check(door, deadline)
        except HealthError as error:
            if error.code != "not-answering" or deadline.passed():
                raise
        deadline.pause(0.25)


def check(door: Door, deadline: Deadline) -> Health:
    """The whole path once: proof, token, kernelspecs, CORS, a foreign origin, the bridge's WebSocket."""
    rtt_ms = knock(door, deadline.shorter(10.0))
    for origin in door.origins:
        _check_token_and_cors(door, origin, deadline)
        _check_preflight(door, origin, deadline)
        _check_bridge(door, origin, deadline)
    _check_foreign_origin(door, deadline)
    return Health("ready", rtt_ms=rtt_ms)


def glance(door: Door, deadline: Deadline) -> Health:
    """The proof alone, as a value: cheap enough to repeat while the tunnel stands. Raises only ``Interrupted``."""
    try:
        return Health("ready", rtt_ms=knock(door, deadline))
    except Interrupted:
        raise
    except RemoteRuntimeError as error:
        return Health(VERDICTS.get(error.code, "unreachable"), str(error))


def knock(door: Door, deadline: Deadline) -> float:
    """Whoever listens must prove that it is our server. Returns the milliseconds it took. Raises as ``prove``."""
    began = time.monotonic()
    try:
        connection = door.open(max(0.1, deadline.remaining_s()))
    except OSError as error:
        raise HealthError("not-answering", f"Nothing answers on local port {door.port}", str(error)) from error
    with contextlib.closing(SocketStream(connection)) as stream:
        prove(stream, door.token, deadline)
    return (time.monotonic() - began) * 1000


@dataclass(frozen=True)
class Use:
    """What the bridge counts. ``page_requests``: requests of the door's origins since the server started."""

    kernels: int
    page_requests: int


def use(door: Door, deadline: Deadline) -> Use:
    """Raises ``HealthError``."""
    knock(door, deadline)
    answer = _ask(door, "GET", "/api/remote-runtime", {}, deadline)
    found = answer.document()
    try:
        counts = [found["requests"].get(origin, 0) for origin in door.origins]
        return Use(len(found["kernels"]), sum(int(count) for count in counts))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise HealthError(
            "not-answering", "The bridge does not tell who uses the server", f"it answered {answer.status}"
        ) from error


def kernels(door: Door, deadline: Deadline) -> list[dict[str, Any]]:
    """The server's kernels, each with ``execution_state``. Raises ``HealthError``."""
    knock(door, deadline)
    answer = _ask(door, "GET", "/api/kernels", {}, deadline)
    found = answer.document()
    if answer.status != 200 or not isinstance(found, list):
        raise HealthError("not-answering", "Jupyter does not list its kernels", f"it answered {answer.status}")
    return [kernel for kernel in found if isinstance(kernel, dict)]


@dataclass(frozen=True)
class _Answer:
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


def _check_token_and_cors(door: Door, origin: str, deadline: Deadline) -> None:
    answer = _ask(door, "GET", "/api/kernelspecs", {"Origin": origin}, deadline)
    if answer.status in (401, 403):
        raise HealthError(
            "token-refused", "Jupyter refuses the token", f"GET /api/kernelspecs answered {answer.status}"
        )
    if answer.status != 200:
        raise HealthError("not-answering", "Jupyter does not list its kernels", f"it answered {answer.status}")
    if not answer.allows(origin):
        raise _origin_refused(f"the answer to {origin} carries no Access-Control-Allow-Origin for it")
    document = answer.document()
    if not isinstance(document, dict) or not document.get("kernelspecs"):
        raise MachineError(
            "jupyter-missing",
            "Jupyter on the machine has no kernel",
            "its list of kernelspecs is empty",
            "Install ipykernel in that environment, or name another interpreter in jupyter.python",
        )


def _check_preflight(door: Door, origin: str, deadline: Deadline) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = _ask(door, "OPTIONS", "/api/sessions", asked, deadline)
    if not 200 <= answer.status < 300 or not answer.allows(origin):
        raise _origin_refused(f"the preflight of {origin} was answered with {answer.status}")


def _check_foreign_origin(door: Door, deadline: Deadline) -> None:
    # Deleting a kernel that cannot exist changes nothing where it is let through.
    path = f"/api/kernels/{secrets.token_hex(16)}"
    answer = _ask(door, "DELETE", path, {"Origin": FOREIGN_ORIGIN}, deadline)
    if answer.status != 403 or answer.headers.get("access-control-allow-origin"):
        raise HealthError(
            "origin-refused",
            "Jupyter serves pages of any origin",
            f"a request of {FOREIGN_ORIGIN} was answered with {answer.status}, not 403",
            "`remote-runtime logs PROFILE --server` shows what the server loaded",
        )


def _check_bridge(door: Door, origin: str, deadline: Deadline) -> None:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Origin

    uri = f"ws://localhost:{door.port}/http_over_websocket/diagnose?min_version=0.0.7"
    limit_s = max(0.1, deadline.shorter(10.0).remaining_s())
    why = ""
    try:
        connection = door.open(limit_s)
        with connect(
            uri,
            sock=connection,
            origin=Origin(origin),
            additional_headers=OUR_OWN,
            open_timeout=limit_s,
            close_timeout=2,
            proxy=None,
            max_size=LARGEST_ANSWER,
        ) as page:
            page.send("knock")
            answer = json.loads(page.recv(timeout=limit_s))
            if isinstance(answer, dict) and answer.get("message_id") == "knock":
                return
    except (WebSocketException, OSError, ValueError, RecursionError) as error:
        why = clean_line(str(error), 200)
    raise MachineError(
        "bridge-not-loaded",
        "The bridge does not answer on its WebSocket",
        why or "its answer is not a bridge's",
        "`remote-runtime logs PROFILE --server` shows why it was not loaded",
    )


def _ask(door: Door, method: str, path: str, headers: Mapping[str, str], deadline: Deadline) -> _Answer:
    deadline.check()
    connection = http.client.HTTPConnection("localhost", door.port, timeout=max(0.1, deadline.remaining_s()))
    try:
        connection.sock = door.open(max(0.1, deadline.remaining_s()))
        asked = f"{path}?token={quote(door.token.reveal())}"
        connection.request(method, asked, headers={**OUR_OWN, **headers})
        with _ended_at(deadline, connection.sock):
            response = connection.getresponse()
            body = response.read(LARGEST_ANSWER + 1)
        if deadline.passed():
            raise TimeoutError
        if response.length:
            raise http.client.IncompleteRead(body, response.length)
        if len(body) > LARGEST_ANSWER:
            raise HealthError("not-answering", "Jupyter's answer has no end", f"{method} {path}")
        return _Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
    except TimeoutError as error:
        raise HealthError(
            "not-answering", "Jupyter accepts connections and does not answer", f"{method} {path} timed out"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise HealthError(
            "not-answering", "The connection to Jupyter broke", clean_line(f"{method} {path}: {error!r}", 200)
        ) from error
    finally:
        connection.close()


@contextlib.contextmanager
def _ended_at(deadline: Deadline, connection: socket.socket) -> Iterator[None]:
    """A socket's own limit begins anew with every byte: an answer that drips would never reach it."""

    def end() -> None:
        with contextlib.suppress(OSError):  # it was closed at the same moment
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(deadline.remaining_s(), end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _origin_refused(why: str) -> HealthError:
    return HealthError("origin-refused", "Jupyter refuses pages of Colab", why, "Check colab.origins in the profile")
