"""Forwards one local port (127.0.0.1 and ::1) to the machine.

The port is bound once and stays bound. While there is no upstream, new connections wait, limited in number and time.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError
from ..core.model import Secret
from ..core.open_files import MAX_CONNECTIONS, is_reserved, max_connections
from . import ports
from .acceptor import Acceptor
from .connection_stats import Address, ConnectionRecord, ConnectionStats
from .identity import ServerIdentity, Stream, verify_identity
from .protocols import ConnectionHandler, Forwarder, Upstream
from .rate_limited_log import RateLimitedLog
from .relay import relay, reset, send_error, set_nodelay
from .silent_connections import MAX_SILENT, OldestFirst, wait_for_request

log = logging.getLogger(__name__)
MAX_WAITING = 256
MAX_WAIT_S = 30.0
IDENTITY_TIMEOUT_S = 15.0
Call = Callable[[], None]
TOO_MANY_FILES = "this process can't open more files"
TOO_MANY_CONNECTIONS = "too many others are there"


class PortForwarder:
    """``http``: the port speaks HTTP, so errors are answered and TLS is refused. ``failure``: why the last connection
    could not be forwarded. ``ipv6_taken_by``: why the port could not be bound on [::1] later. ``on_change`` is called
    after a failure, when ``alive`` becomes False, and when a client comes after a rest."""

    def __init__(self, listeners: list[socket.socket], *, http: bool = True, on_change: Call = lambda: None) -> None:
        self.port: int = listeners[0].getsockname()[1]
        self.failure: RemoteRuntimeError | None = None
        self.stats = ConnectionStats(self.port, http=http, on_use=on_change)
        self.ipv6_taken_by = ""
        self._http, self._on_change = http, on_change
        self._listeners = listeners
        self._upstream: Upstream | None = None
        self._identity: ServerIdentity | None = None
        self._forwarder: Forwarder | None = None
        self._draining: list[Forwarder] = []
        self._rate_limited_log = RateLimitedLog(log)
        self._changed = threading.Condition()
        self._generation = 0
        self._waiting = 0
        self._closing = threading.Event()
        self._max_threads = max_connections()
        self._silent = OldestFirst[tuple[socket.socket, ConnectionRecord]](
            min(MAX_SILENT, self._max_threads // 2),
            lambda each: each[1].outcome == "waiting" and each[0].fileno() >= 0,
        )
        self._threads: set[threading.Thread] = set()
        self._acceptor = Acceptor(
            listeners,
            is_needed=lambda: self._forwarder is None or self._forwarder.closed,
            on_accept=self._on_accept,
            on_end=on_change,
            log=self._rate_limited_log,
            name=f"port-{self.port}",
        )

    def listen_on_ipv6(self) -> None:
        """Listen on [::1] too if this computer has IPv6 by now: browsers try it first."""
        if any(listener.family == socket.AF_INET6 for listener in self._listeners):
            return
        try:
            listener = ports.bind_ipv6(self.port)
        except LocalError as error:
            self.ipv6_taken_by = error.why
            return
        self.ipv6_taken_by = ""
        if listener is None:
            return
        self._acceptor.watch(listener)
        with self._changed:
            self._listeners.append(listener)
            forwarder = self._forwarder
        if forwarder is not None:
            self._listen([listener], forwarder)

    def _listen(self, listeners: list[socket.socket], forwarder: Forwarder) -> None:
        forwarder.listen(
            listeners,
            lambda came_from: PortConnectionHandler(self, self.stats.open_record(came_from)),
            self._acceptor.wake,
        )

    def set_upstream(self, upstream: Upstream, token: Secret | None, address: str = "") -> None:
        """Forward connections to ``upstream`` from now on, the waiting ones first. ``token``, ``address``: see
        ``ServerIdentity``; None to skip its check. Raises ``RemoteRuntimeError``."""
        identity = ServerIdentity(token, address) if token is not None else None
        is_unchanged = self._upstream is upstream and self._identity == identity
        keeps_forwarder = is_unchanged and self._forwarder is not None and not self._forwarder.closed
        forwarder = self._forwarder if keeps_forwarder else upstream.open_forwarder(identity)
        with self._changed:
            before, self._forwarder = self._forwarder, forwarder
            self._upstream, self._identity, self.failure = upstream, identity, None
            self._changed.notify_all()
        self._acceptor.wake()
        if before is not None and before is not forwarder:
            before.close()
        if forwarder is not None and forwarder is not before:
            self._listen(self._listeners, forwarder)

    def disconnect(self) -> None:
        """Drop the upstream: reset the open connections, let new ones wait."""
        with self._changed:
            forwarder, self._upstream, self._forwarder = self._forwarder, None, None
            forwarders, self._draining = [*self._draining, *([forwarder] if forwarder else [])], []
            self._generation += 1
            self._changed.notify_all()
        self._acceptor.wake()
        for each in forwarders:
            each.close()

    def pause(self) -> None:
        """Let new connections wait; the open ones stay."""
        with self._changed:
            forwarder, self._upstream, self._forwarder = self._forwarder, None, None
            if forwarder is not None:
                self._draining.append(forwarder)
        self._acceptor.wake()
        if forwarder is not None:
            forwarder.drain()

    def has_upstream(self) -> bool:
        return self._upstream is not None and not self._upstream.closed

    @property
    def alive(self) -> bool:
        """Whether connections are accepted."""
        return self._acceptor.alive

    def close(self) -> None:
        self._closing.set()
        self.disconnect()
        self._acceptor.close()
        for listener in self._listeners:
            listener.close()
        for thread in list(self._threads):
            thread.join(5)

    def _on_accept(self, client: socket.socket, came_from: Address) -> None:
        client.setblocking(False)
        set_nodelay(client)
        record = self.stats.open_record(came_from)
        if is_reserved(client.fileno()) and not record.is_ours:
            self._reject(client, record, TOO_MANY_FILES, files=True)
        else:
            self._start_thread(client, record, lambda: self._serve_on_request(client, record))

    def _start_thread(self, client: socket.socket, record: ConnectionRecord, work: Callable[[], None]) -> None:
        """Reset the client if there are too many threads."""

        def run() -> None:
            try:
                work()
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True, name=f"port-{self.port}-connection")
        is_full = len(self._threads) >= self._max_threads and not record.is_ours
        self._threads.add(thread)
        try:
            if is_full:
                raise RuntimeError(f"{self._max_threads} connections are served")
            thread.start()
        except RuntimeError as error:  # or the computer starts no more threads
            self._threads.discard(thread)
            self._reject(client, record, error, files=self._max_threads < MAX_CONNECTIONS)

    def _reject(self, client: socket.socket, record: ConnectionRecord, why: object, *, files: bool) -> None:
        self.record_rejection(record, why, files=files)
        reset(client)
        record.close()

    def record_rejection(self, record: ConnectionRecord, why: object, *, files: bool) -> None:
        """Count and log a connection that is reset for lack of files, threads or channels."""
        record.on_over_limit(files=files)
        self._rate_limited_log("a connection is sent away", why, level=logging.WARNING)

    # ── in a connection's thread

    def _serve_on_request(self, client: socket.socket, record: ConnectionRecord) -> None:
        """Serve the client; if the identity check is required, once its request is complete."""
        displaced = self._silent.add((client, record))
        if displaced is not None:
            oldest, its_record = displaced
            with contextlib.suppress(OSError):  # it is closed already
                oldest.shutdown(socket.SHUT_RDWR)
            self.record_rejection(its_record, TOO_MANY_CONNECTIONS, files=False)
        request = wait_for_request(client, self._closing.is_set) if self._identity is not None else b""
        if self._identity is None or (request and record.on_first_bytes(request[:1])):
            self._serve(client, record)
            return
        record.on_client_closed()
        client.close()
        record.close()

    def _serve(self, client: socket.socket, record: ConnectionRecord) -> None:
        try:
            upstream, identity, forwarder, generation = self._wait_for_upstream(MAX_WAIT_S if record.may_wait else 0.0)
            if forwarder is not None:
                forwarder.forward(client, PortConnectionHandler(self, record))
                return
            stream = self._dial(upstream, identity)
            relay(client, stream, upstream, lambda: self._generation != generation, record)
            if self._generation == generation and not upstream.closed:
                record.on_client_closed()
        except RemoteRuntimeError as error:
            self._record_failure(error)
            send_error(client, error, http=self._http)
        except OSError as error:
            self._rate_limited_log("a connection ended", error)
            reset(client)
        client.close()
        record.close()

    def _wait_for_upstream(self, within_s: float) -> tuple[Upstream, ServerIdentity | None, Forwarder | None, int]:
        until = time.monotonic() + within_s
        with self._changed:
            self._waiting += 1
            try:
                while self._upstream is None or self._upstream.closed:
                    left_s = until - time.monotonic()
                    if self._closing.is_set() or left_s <= 0 or self._waiting > MAX_WAITING:
                        raise ConnectionError("there is no way to the machine")
                    self._changed.wait(left_s)
                return self._upstream, self._identity, self._forwarder, self._generation
            finally:
                self._waiting -= 1

    def _dial(self, upstream: Upstream, identity: ServerIdentity | None) -> Stream:
        stream = upstream.dial()
        if identity is not None:
            try:
                verify_identity(stream, identity.token, Deadline(IDENTITY_TIMEOUT_S), identity.address)
            except BaseException:
                stream.close()
                raise
        return stream

    def _record_failure(self, error: RemoteRuntimeError) -> None:
        self._rate_limited_log("a connection could not be forwarded to the machine", error)
        self.failure = error
        self._on_change()

    def take_back(self, client: socket.socket, record: ConnectionRecord, error: RemoteRuntimeError) -> None:
        """The forwarder has not served this client: report the error to it, or let it wait if the link is lost."""

        def report() -> None:
            send_error(client, error, http=self._http)
            client.close()
            record.close()

        has_upstream = self.has_upstream()
        if has_upstream:
            self._record_failure(error)
        work = report if has_upstream else lambda: self._serve(client, record)
        self._start_thread(client, record, work)


class PortConnectionHandler(ConnectionHandler):
    """Records the events of a connection that a forwarder serves."""

    def __init__(self, port: PortForwarder, record: ConnectionRecord) -> None:
        self.is_ours = record.is_ours
        self._port = port
        self._record = record

    def on_over_limit(self, *, files: bool) -> None:
        self._port.record_rejection(self._record, TOO_MANY_FILES if files else TOO_MANY_CONNECTIONS, files=files)

    def on_first_bytes(self, first_byte: bytes) -> bool:
        return self._record.on_first_bytes(first_byte)

    def on_transfer(self, sent: int, received: int) -> None:
        self._record.on_transfer(sent, received)

    def on_refused(self, sock: socket.socket, error: RemoteRuntimeError) -> None:
        self._port.take_back(sock, self._record, error)

    def on_closed(self) -> None:
        if self._record.outcome == "waiting" and self._port.has_upstream():
            self._record.on_client_closed()
        self._record.close()
