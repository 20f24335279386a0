"""Identity-Aware Proxy's relay on loopback, protocol v4, for `up demo-iap`."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from ..gcp_api.api_errors import ApiError
from ..gcp_api.state import Cloud
from .connection import RelayConnection
from .protocol import RelayRefusal, TunnelRequest
from .session import RelaySession
from .websocket import PeerGone, RelaySocket

if TYPE_CHECKING:
    from websockets.http11 import Request

PERMISSION = "iap.tunnelInstances.accessViaIAP"
_HANDSHAKE_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_MAX_DETACHED_S = 60.0


class Relay:
    """Listens from the moment it is made. ``find_address`` returns where the machine of a request listens; it may raise
    ``RelayRefusal``. ``requests``: those so far."""

    def __init__(
        self, find_address: Callable[[TunnelRequest], tuple[str, int]], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[TunnelRequest] = []
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
        """For ``REMOTE_RUNTIME_IAP_URL``. Contains a secret: only who knows it can use the relay."""
        return f"{'wss' if self._tls else 'ws'}://localhost:{self.port}/{self._secret}/v4"

    @property
    def alive(self) -> bool:
        return self._acceptor.is_alive()

    def drop_sessions(self) -> None:
        """Forgets all sessions and resets their connections, as a restart does."""
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
            request = client.handshake(self.check_request)
            if request is not None:
                self._serve_session(client, _parse_request(request))
        except (OSError, PeerGone):
            return  # the client has disconnected
        finally:
            accepted.close()

    def check_request(self, request: Request) -> int | None:
        path = urlsplit(request.path).path
        if path not in (f"/{self._secret}/v4/connect", f"/{self._secret}/v4/reconnect"):
            return 404
        self.requests.append(_parse_request(request))
        return None

    def open_session(self, request: TunnelRequest) -> RelaySession:
        """Raises ``RelayRefusal``."""
        return self._open(request) if request.verb == "connect" else self._resume(request)

    def make_connection(self, client: RelaySocket, session: RelaySession) -> RelayConnection:
        return RelayConnection(client, session, self.closed)

    def _serve_session(self, client: RelaySocket, request: TunnelRequest) -> None:
        try:
            session = self.open_session(request)
        except RelayRefusal as refusal:
            client.close(refusal.code, refusal.reason)
            return
        is_finished = False
        try:
            connection = self.make_connection(client, session)
            connection.greet(is_new=request.verb == "connect")
            connection.run()
        except PeerGone as gone:
            is_finished = gone.closed_cleanly
        finally:
            session.detached_at = time.monotonic()
            session.detached.set()
        if is_finished:
            self._drop(session)

    def _open(self, request: TunnelRequest) -> RelaySession:
        try:
            machine = socket.create_connection(self._find_address(request), timeout=_CONNECT_TIMEOUT_S)
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

    def _resume(self, request: TunnelRequest) -> RelaySession:
        with self._lock:
            session = self._sessions.get(request.query.get("sid", ""))
            if session is None:
                raise RelayRefusal(4001, "unknown sid")
            session.detach_requested.set()
        if not session.detached.wait(_CONNECT_TIMEOUT_S):
            raise RelayRefusal(4002, "sid in use")
        session.detach_requested.clear()
        session.detached.clear()
        session.resume(int(request.query["ack"]))
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


def instance_finder(cloud: Cloud) -> Callable[[TunnelRequest], tuple[str, int]]:
    """For ``Relay``: the requested port on 127.0.0.1, if the instance runs and the caller has the permission."""

    def find_address(request: TunnelRequest) -> tuple[str, int]:
        query = request.query
        if not cloud.permits(PERMISSION):
            raise RelayRefusal(4033, "not authorized")
        try:
            instance = cloud.instance(query["project"], query["zone"], query["instance"])
        except ApiError as error:
            raise RelayRefusal(4047, "Failed to lookup instance") from error
        if instance.status != "RUNNING" or query["interface"] != "nic0":
            raise RelayRefusal(4047, "Failed to lookup instance")
        return "127.0.0.1", int(query["port"])

    return find_address
