"""The stream sessions of this server: who may join one, and when it ends."""

from __future__ import annotations

import hmac
import secrets
import socket
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from ..identity import local_address
from .protocol.carrier import Carrier
from .protocol.handshake import Hello, client_proof, secret_proof
from .protocol.send_buffer import SpoolBudget
from .protocol.session import StreamSession
from .sockets import CarrierSocket, LocalSocket

if TYPE_CHECKING:
    from asyncio import Future

MAX_SESSIONS = 64
MAX_STREAMS = 4096
MAX_CARRIERS = 64  # of a session
MAX_ALL_CARRIERS = 256
_SOCKET_BYTES = 1 << 20
# The client's window of one SSH channel grows with the link. Those of several would fill the queue of a slow link, and
# their pieces arrive in another order, which costs the client a copy.
_BULK_CARRIERS = 1


class StreamTimeouts(NamedTuple):
    """Seconds. ``silence_s``: without a byte from a client that is attached; clients ask every minute. ``detached_s``:
    how long streams wait for a client that is detached."""

    silence_s: float = 150.0
    detached_s: float = 24 * 3600.0


class StreamAddress(Tuple[str, int]):
    """What the HTTP server takes for the client's address: ``request.connection.context.address``. ``session``: the one
    whose client is behind the request. ``local``: the end of the request's stream. ``written()``: the offset in the
    stream of what the server writes next. ``on_request``: to be called for each request that is no check of
    remote-runtime's own."""

    session: StreamSession
    local: LocalSocket
    written: Callable[[], int]
    on_request: Callable[[], None]


class _StreamIOStream(IOStream):
    """The HTTP server's end of a stream. What the server writes goes to the stream at once, and through the socket only
    while the stream accepts no more. ``written``: bytes in all. ``arrived_at``: where the carrier arrived, for
    the proof of the server's identity."""

    written = 0
    arrived_at = ""
    local: LocalSocket

    def write_to_fd(self, data: memoryview) -> int:
        try:
            return self.local.take(data) or self.local.count_written(super().write_to_fd(data))
        finally:
            del data  # as in IOStream: a view would keep the buffer from being changed

    def write(self, data: Union[bytes, memoryview]) -> "Future[None]":
        self.written += memoryview(data).nbytes
        return super().write(data)


class _Member(NamedTuple):
    session: StreamSession
    secret: str
    generation: int
    arrived_at: str = ""


class StreamServer:
    """Used in the event loop. ``http_server()``: serves the streams; it is made after the extensions are loaded.
    ``token()``: the server's token now. ``on_session``: called for each new session, before its first stream.

    ``last_heard``: when a client last sent anything on a stream that is no check; None for never."""

    def __init__(
        self,
        http_server: Callable[[], Any],
        token: Callable[[], str],
        budget: SpoolBudget,
        timeouts: StreamTimeouts,
        on_session: Callable[[], None],
    ) -> None:
        self._http_server = http_server
        self._token = token
        self._budget = budget
        self._timeouts = timeouts
        self._on_session = on_session
        self._members: Dict[str, _Member] = {}
        self._timers: Dict[str, object] = {}
        self._max_streams = min(MAX_STREAMS, _max_descriptors() * 3 // 8)  # each has two
        self.last_heard: Optional[datetime] = None

    @property
    def sessions(self) -> List[StreamSession]:
        return [member.session for member in self._members.values()]

    def detached_count(self) -> int:
        """Streams whose clients are away."""
        return sum(len(each.streams) for each in self.sessions if each.detached_since is not None)

    def refusal(self, hello: Hello, nonce: str) -> str:
        """Why a client that sends ``hello`` must not add a carrier; empty if it can. ``nonce``: the one it was sent."""
        expected = client_proof(self._token(), nonce, hello.session, hello.generation, hello.carrier)
        if not hmac.compare_digest(hello.proof, expected):
            return "wrong-proof"
        proofs = [(hello.session, hello.secret), (hello.replaces, hello.replaces_secret)]
        for member, secret in [(self._members.get(session_id), secret) for session_id, secret in proofs]:
            if member is not None and not hmac.compare_digest(secret, secret_proof(member.secret, nonce)):
                return "wrong-secret"
        if not hello.session:
            is_room = len(self._members) < MAX_SESSIONS or hello.replaces in self._members or self._unused()
            return self._no_room() if is_room else "too-many-sessions"
        member = self._members.get(hello.session)
        if member is None:
            return "unknown-session"
        if hello.generation != member.generation:  # a later one ends all carriers that there are
            return "" if hello.generation > member.generation else "old-generation"
        return "too-many-carriers" if len(member.session.carriers) >= MAX_CARRIERS else self._no_room()

    def join(self, hello: Hello) -> Tuple[str, str]:
        """Prepare the session that ``hello``, which was not refused, asks for: its id and secret.

        A later generation ends the carriers of the earlier ones, which may have died in silence. A session that a new
        one replaces ends at once: its client was killed."""
        session_id = hello.session or secrets.token_hex(16)
        member = self._members.get(session_id)
        if member is None:
            replaced = self._members.pop(hello.replaces, None)
            if replaced is not None:
                replaced.session.close("another remote-runtime process has taken over")
            if len(self._members) >= MAX_SESSIONS:
                del self._members[self._unused()]
            member = _Member(self._new_session(session_id), secrets.token_hex(32), 0)
            self._check_later(session_id, self._timeouts.detached_s)
            self._on_session()
        for carrier in list(member.session.carriers):
            if hello.generation > member.generation or carrier.number == hello.carrier:
                member.session.lose(carrier, "the client has connected again")
        self._members[session_id] = member._replace(generation=hello.generation)
        return session_id, member.secret

    def attach(self, session_id: str, sock: socket.socket, number: int) -> None:
        member = self._members.get(session_id)
        if member is None:  # replaced since it was joined
            sock.close()
            return
        self._check_later(session_id, self._timeouts.silence_s)
        self._members[session_id] = member._replace(arrived_at=local_address(sock))
        member.session.attach(Carrier(member.session, CarrierSocket(sock), number))

    def _no_room(self) -> str:
        carriers = sum(len(session.carriers) for session in self.sessions)
        return "too-many-carriers" if carriers >= MAX_ALL_CARRIERS else ""

    def _unused(self) -> str:
        """The id of the oldest session without carriers and streams; empty if there is none."""
        for session_id, member in self._members.items():
            if not member.session.carriers and not member.session.streams:
                return session_id
        return ""

    def _new_session(self, session_id: str) -> StreamSession:
        session = StreamSession(
            clock=time.monotonic,
            call_later=IOLoop.current().call_later,
            budget=self._budget,
            open_local=lambda number: self._open_local(session, self._members[session_id].arrived_at),
            on_detached=lambda: self._check_later(session_id, self._timeouts.detached_s),
            max_bulk_carriers=_BULK_CARRIERS,
        )
        return session

    def _open_local(self, session: StreamSession, arrived_at: str) -> LocalSocket:
        """Raises ``OSError``."""
        if sum(len(each.streams) for each in self.sessions) >= self._max_streams:
            raise OSError(f"{self._max_streams} connections are open")
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        for sock in (ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        server = self._http_server()
        stream = _StreamIOStream(theirs, max_buffer_size=server.max_buffer_size, read_chunk_size=server.read_chunk_size)
        address = StreamAddress(("127.0.0.1", 0))
        stream.local = local = LocalSocket(ours)
        stream.arrived_at = arrived_at

        def note_use() -> None:
            self.last_heard = datetime.now(timezone.utc)

        def on_request() -> None:
            note_use()
            local.on_sent = note_use

        address.session, address.local, address.on_request = session, local, on_request
        address.written = lambda: stream.written
        server.handle_stream(stream, address)
        return local

    def _check_later(self, session_id: str, delay_s: float) -> None:
        """One timer for each session: a link that comes and goes leaves none behind."""
        loop = IOLoop.current()
        if session_id in self._timers:
            loop.remove_timeout(self._timers[session_id])
        self._timers[session_id] = loop.call_later(delay_s, lambda: self._check(session_id))

    def _check(self, session_id: str) -> None:
        """Give up a client that is silent; reset the streams of one that was away for too long, and forget it."""
        del self._timers[session_id]
        member, now = self._members.get(session_id), time.monotonic()
        if member is None:
            return
        session, timeouts = member.session, self._timeouts
        if session.detached_since is None:
            left_s = max(each.last_received_at for each in session.carriers) + timeouts.silence_s - now
            if left_s > 0:
                self._check_later(session_id, left_s)
                return
            for carrier in list(session.carriers):  # with the last one the session is detached, and checked again
                session.lose(carrier, f"the client has sent nothing for {timeouts.silence_s:.0f} s")
            return
        left_s = session.detached_since + timeouts.detached_s - now
        if left_s > 0:
            self._check_later(session_id, left_s)
            return
        session.reset_streams(f"the client has been away for {now - session.detached_since:.0f} s")
        del self._members[session_id]


def _max_descriptors() -> int:
    """Of this process; no limit is known on Windows."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
