"""Identity-Aware Proxy's relay on loopback, protocol v4: for `up demo-iap`, and for tests, which can make it fail."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from . import protocol as wire
from .connection import ACK_INTERVAL_BYTES, RelayConnection
from .protocol import RelayFault, RelayRefusal, TunnelRequest
from .session import RelaySession
from .websocket import PeerGone, RelaySocket

if TYPE_CHECKING:
    from websockets.http11 import Request

_HANDSHAKE_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_MAX_DETACHED_S = 60.0


class Relay:
    """Listens from the moment it is made. ``find``: where a request's machine listens; it may raise ``Refusal``.

    ``asked``: every request so far. To be set by tests: ``faults``, one for each of the next connections (None: it does
    nothing wrong); ``refusals``, close codes instead of a success; ``statuses``, HTTP statuses instead of a WebSocket;
    ``tokens``, the only ones that are accepted, if any; ``acknowledge_bytes``, after how many it acknowledges.
    """

    def __init__(
        self, find_address: Callable[[TunnelRequest], tuple[str, int]], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[TunnelRequest] = []
        self.faults: deque[RelayFault | None] = deque()
        self.refusals: deque[int] = deque()
        self.statuses: deque[int] = deque()
        self.tokens: set[str] = set()
        self.acknowledge_bytes = ACK_INTERVAL_BYTES
        self.transferred_bytes = 0
        self._find_address = find_address
        self._tls = tls
        self._secret = secrets.token_urlsafe(24)
        self._sessions: dict[str, RelaySession] = {}
        self._lock = threading.Lock()
        self.closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="demo-relay")
        self._acceptor.start()

    @property
    def url(self) -> str:
        """For ``REMOTE_RUNTIME_IAP_URL``: nobody who does not know it can use the relay."""
        return f"{'wss' if self._tls else 'ws'}://localhost:{self.port}/{self._secret}/v4"

    @property
    def alive(self) -> bool:
        return self._acceptor.is_alive()

    def drop_sessions(self) -> None:
        """As when it is restarted: the sessions are unknown from now on, and their connections reset."""
        with self._lock:
            sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.close()

    def close(self) -> None:
        self.closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_sessions()
        self._acceptor.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self.closed.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._handle_connection, args=(accepted,), name="demo-relay-connection")
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def _handle_connection(self, accepted: socket.socket) -> None:
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.settimeout(_HANDSHAKE_TIMEOUT_S)
            if self._tls is not None:
                accepted = self._tls.wrap_socket(accepted, server_side=True)
            client = RelaySocket(accepted)
            request = client.handshake(self._check_request)
            if request is not None:
                self._serve_session(client, _parse_request(request))
        except (OSError, PeerGone):
            return  # a client that goes away is no news
        finally:
            accepted.close()

    def _check_request(self, request: Request) -> int | None:
        path = urlsplit(request.path).path
        if self.statuses:
            return self.statuses.popleft()
        if path not in (f"/{self._secret}/v4/connect", f"/{self._secret}/v4/reconnect"):
            return 404
        tunnel_request = _parse_request(request)
        self.requests.append(tunnel_request)
        if self.tokens and tunnel_request.token not in self.tokens:
            return 401
        return None

    def _serve_session(self, client: RelaySocket, tunnel_request: TunnelRequest) -> None:
        try:
            if self.refusals:
                raise RelayRefusal(self.refusals.popleft(), "as it was told")
            session = self._open(tunnel_request) if tunnel_request.verb == "connect" else self._resume(tunnel_request)
        except RelayRefusal as refusal:
            client.close(refusal.code, refusal.reason)
            return
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.kind == "early-data":
            client.put(wire.data(b"early"))
        if tunnel_request.verb == "connect":
            client.put(wire.connect_success_sid(session.sid))
        else:
            client.put(wire.reconnect_success_ack(session.received))
        is_finished = False
        try:
            RelayConnection(client, session, fault, self).run()
        except PeerGone as gone:
            is_finished = gone.closed_cleanly
        finally:
            session.detached_at = time.monotonic()
            session.detached.set()
        if is_finished:
            self._drop(session)

    def _open(self, tunnel_request: TunnelRequest) -> RelaySession:
        try:
            machine = socket.create_connection(self._find_address(tunnel_request), timeout=_CONNECT_TIMEOUT_S)
        except OSError as error:
            raise RelayRefusal(4003, "failed to connect to backend") from error
        machine.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = RelaySession(secrets.token_urlsafe(16), machine)
        now = time.monotonic()
        with self._lock:
            others = list(self._sessions.values())
            self._sessions[session.sid] = session
        for other in others:
            if other.detached.is_set() and now - other.detached_at > _MAX_DETACHED_S:
                self._drop(other)
        return session

    def _resume(self, tunnel_request: TunnelRequest) -> RelaySession:
        with self._lock:
            session = self._sessions.get(tunnel_request.query.get("sid", ""))
            if session is None:
                raise RelayRefusal(4001, "unknown sid")
            session.detach_requested.set()
        if not session.detached.wait(_CONNECT_TIMEOUT_S):
            raise RelayRefusal(4002, "sid in use")
        session.detach_requested.clear()
        session.detached.clear()
        session.resume(int(tunnel_request.query["ack"]))
        return session

    def _drop(self, session: RelaySession) -> None:
        with self._lock:
            self._sessions.pop(session.sid, None)
        session.close()


def _parse_request(request: Request) -> TunnelRequest:
    url = urlsplit(request.path)
    headers = request.headers
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    verb = url.path.rpartition("/")[2]
    return TunnelRequest(verb, dict(parse_qsl(url.query, keep_blank_values=True)), token, headers.get("User-Agent", ""))
