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
from .connection import ACKNOWLEDGE_BYTES, Conversation
from .protocol import Asked, Fault, Refusal
from .session import Session
from .websocket import Gone, RelaySocket

if TYPE_CHECKING:
    from websockets.http11 import Request

_SHAKE_S = 10.0
_CONNECT_S = 5.0
_KEPT_S = 60.0


class Relay:
    """Listens from the moment it is made. ``find``: where a request's machine listens; it may raise ``Refusal``.

    ``asked``: every request so far. To be set by tests: ``faults``, one for each of the next connections (None: it does
    nothing wrong); ``refusals``, close codes instead of a success; ``statuses``, HTTP statuses instead of a WebSocket;
    ``tokens``, the only ones that are accepted, if any; ``acknowledge_bytes``, after how many it acknowledges.
    """

    def __init__(self, find: Callable[[Asked], tuple[str, int]], *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault | None] = deque()
        self.refusals: deque[int] = deque()
        self.statuses: deque[int] = deque()
        self.tokens: set[str] = set()
        self.acknowledge_bytes = ACKNOWLEDGE_BYTES
        self.carried = 0
        self._find = find
        self._tls = tls
        self._secret = secrets.token_urlsafe(24)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self.ended = threading.Event()
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

    def forget(self) -> None:
        """As when it is restarted: the sessions are unknown from now on, and their connections reset."""
        with self._lock:
            sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.close()

    def close(self) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.forget()
        self._acceptor.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(accepted,), name="demo-relay-connection")
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.settimeout(_SHAKE_S)
            if self._tls is not None:
                accepted = self._tls.wrap_socket(accepted, server_side=True)
            client = RelaySocket(accepted)
            request = client.shake_hands(self._judge)
            if request is not None:
                self._answer(client, _asked(request))
        except (OSError, Gone):
            return  # a client that goes away is no news
        finally:
            accepted.close()

    def _judge(self, request: Request) -> int | None:
        path = urlsplit(request.path).path
        if self.statuses:
            return self.statuses.popleft()
        if path not in (f"/{self._secret}/v4/connect", f"/{self._secret}/v4/reconnect"):
            return 404
        asked = _asked(request)
        self.asked.append(asked)
        if self.tokens and asked.token not in self.tokens:
            return 401
        return None

    def _answer(self, client: RelaySocket, asked: Asked) -> None:
        try:
            if self.refusals:
                raise Refusal(self.refusals.popleft(), "as it was told")
            session = self._open(asked) if asked.verb == "connect" else self._resume(asked)
        except Refusal as refusal:
            client.close(refusal.code, refusal.reason)
            return
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.kind == "early-data":
            client.put(wire.data(b"early"))
        if asked.verb == "connect":
            client.put(wire.connected(session.sid))
        else:
            client.put(wire.resumed(session.received))
        over = False
        try:
            Conversation(client, session, fault, self).carry()
        except Gone as gone:
            over = gone.said_so
        finally:
            session.left_at = time.monotonic()
            session.free.set()
        if over:
            self._drop(session)

    def _open(self, asked: Asked) -> Session:
        try:
            machine = socket.create_connection(self._find(asked), timeout=_CONNECT_S)
        except OSError as error:
            raise Refusal(4003, "failed to connect to backend") from error
        machine.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(secrets.token_urlsafe(16), machine)
        now = time.monotonic()
        with self._lock:
            others = list(self._sessions.values())
            self._sessions[session.sid] = session
        for other in others:
            if other.free.is_set() and now - other.left_at > _KEPT_S:
                self._drop(other)
        return session

    def _resume(self, asked: Asked) -> Session:
        with self._lock:
            session = self._sessions.get(asked.query.get("sid", ""))
            if session is None:
                raise Refusal(4001, "unknown sid")
            session.give_way.set()
        if not session.free.wait(_CONNECT_S):
            raise Refusal(4002, "sid in use")
        session.give_way.clear()
        session.free.clear()
        session.resume(int(asked.query["ack"]))
        return session

    def _drop(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.sid, None)
        session.close()


def _asked(request: Request) -> Asked:
    url = urlsplit(request.path)
    headers = request.headers
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    verb = url.path.rpartition("/")[2]
    return Asked(verb, dict(parse_qsl(url.query, keep_blank_values=True)), token, headers.get("User-Agent", ""))
