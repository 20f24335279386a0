"""A tunnel to a port of an instance: a local socket, and the thread that transfers its bytes over the relay."""

from __future__ import annotations

import logging
import queue
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping

from ...core.deadline import Deadline
from ...core.errors import RemoteRuntimeError, SshError
from ...core.model import Instance
from .close_codes import Close
from .connect import RelayConnector, relay_url
from .keepalive import RelayKeepalive, RelayTimeouts, SocketSelector
from .messages import Ack, CloseMessage, Connected, Data, Malformed, Resumed, encode_ack, encode_data, parse
from .session import AccessTokens, IapSession, SessionEnded
from .websocket import ClosedByRelay, ConnectionLost, WebSocketConnection

log = logging.getLogger(__name__)
_READ_BYTES = 64 << 10
_MAX_UNDELIVERED_BYTES = 256 << 10
_MAX_UNDELIVERED_PIECES = 1024
_MAX_MESSAGES_PER_TURN = 256
_FINAL_OUTPUT_S = 2.0
_TICK_S = 0.1
_MAX_PAUSE_S = 5.0


def open_tunnel(
    instance: Instance, *, environ: Mapping[str, str], deadline: Deadline, timeouts: RelayTimeouts | None = None
) -> IapTunnel:
    """See ``compute.open_tunnel``."""
    url = relay_url(environ)
    first_attempt_s = deadline.remaining_s() if timeouts is None else timeouts.attempt_s
    tunnel = IapTunnel(
        IapSession(instance, RelayConnector(url, environ), AccessTokens(environ, url)),
        timeouts or RelayTimeouts(),
        first_attempt_s,
    )
    try:
        tunnel.wait_open(deadline)
    except BaseException:
        tunnel.close()
        raise
    return tunnel


class IapTunnel:
    """``socket``: a blocking socket; closing it or shutting it down ends the tunnel. ``resumed``: how many times the
    connection to the relay was replaced."""

    def __init__(self, session: IapSession, timeouts: RelayTimeouts, first_attempt_s: float) -> None:
        self.socket, self._local = socket.socketpair()
        self._local.setblocking(False)
        self.resumed = 0
        self._close_reason = ""
        self._session = session
        self._acks = session.acks
        self._timeouts = timeouts
        self._first_attempt_s = first_attempt_s
        self._opened: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._undelivered: deque[memoryview] = deque()
        self._undelivered_bytes = 0
        self._local_ended = False
        self._answers_pings = False
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="iap", daemon=True)
        self._thread.start()

    def close_reason(self) -> str:
        """Empty while the tunnel is open, and if it was closed from this side."""
        return self._close_reason

    def wait_open(self, deadline: Deadline) -> None:
        while True:
            try:
                error = self._opened.get(timeout=_TICK_S)
            except queue.Empty:
                deadline.check()
                if deadline.passed():
                    what = "Can't connect through Identity-Aware Proxy"
                    raise SshError("iap-unreachable", what, f"it took more than {deadline.timeout_s:.0f} s") from None
                continue
            if error is not None:
                raise error
            return

    def close(self) -> None:
        """Data already written are still sent, if that takes moments only."""
        self._cancelled.set()
        self._session.abort()
        self.socket.close()

    # ── run by the thread

    def _run(self) -> None:
        connection = None
        try:
            connection = self._session.open(Deadline(self._first_attempt_s, self._cancelled))
            self._opened.put(None)
        except RemoteRuntimeError as error:
            self._opened.put(error)
        finally:
            if connection is None:
                self._local.close()
                self._opened.put(RuntimeError("the thread of the connection through IAP died"))
        if connection is not None:
            self._run_session(connection)

    def _run_session(self, connection: WebSocketConnection) -> None:
        try:
            while not self._serve_connection(connection):
                connection = self._resume()
        except (SessionEnded, Malformed, RemoteRuntimeError) as error:
            self._close_reason = (
                f"the relay broke its protocol: {error}" if isinstance(error, Malformed) else str(error)
            )
            log.info("the connection through IAP ended: %s", self._close_reason)
            self._write_all_local()
        finally:
            self._local.close()

    def _serve_connection(self, connection: WebSocketConnection) -> bool:
        """True when the local side has ended; False when the connection is lost and the session may be resumed."""
        connection.answers_pings |= self._answers_pings
        try:
            with selectors.DefaultSelector() as selector:
                self._transfer(connection, SocketSelector(selector))
            connection.close()
            return True
        except ConnectionLost as error:
            log.info("the connection to IAP's relay is lost: %s", error)
        except ClosedByRelay as error:
            log.info("IAP's relay closed the connection: %s", error)
            self._session.check_close(error.close)
        finally:
            self._answers_pings = connection.answers_pings
            connection.drop()
        return False

    def _resume(self) -> WebSocketConnection:
        """Raises ``SessionEnded`` or ``RemoteRuntimeError``."""
        started_at, attempt = time.monotonic(), 0
        while True:
            try:
                connection = self._session.resume(Deadline(self._timeouts.attempt_s, self._cancelled))
            except ConnectionLost as error:
                elapsed_s = time.monotonic() - started_at
                log.info("IAP is not back after %.1f s: %s", elapsed_s, error)
                if elapsed_s > self._timeouts.resume_s:
                    raise SessionEnded(f"Identity-Aware Proxy was lost for {elapsed_s:.0f} s: {error}") from error
            else:
                self.resumed += 1
                log.info("resumed through IAP after %.2f s", time.monotonic() - started_at)
                return connection
            pause_s = min(_MAX_PAUSE_S, 0.1 * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
            self._pause(pause_s)
            attempt += 1

    def _pause(self, seconds: float) -> None:
        """Raises ``SessionEnded`` as soon as the local side has ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._local, selectors.EVENT_READ)
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                if self._cancelled.is_set():
                    raise SessionEnded("closed here")
                if selector.select(left) and not self._local_has_data():
                    raise SessionEnded("closed here")
                time.sleep(min(_TICK_S, max(0.0, until - time.monotonic())))  # its data wait

    def _local_has_data(self) -> bool:
        try:
            return bool(self._local.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _transfer(self, connection: WebSocketConnection, sockets: SocketSelector) -> None:
        keepalive = RelayKeepalive(connection, self._timeouts, lambda: self._acks.unacknowledged > 0)
        end_by: float | None = None
        while True:
            self._send(connection, keepalive)
            now = time.monotonic()
            if self._local_ended or self._cancelled.is_set():
                end_by = end_by or now + _FINAL_OUTPUT_S
                if now > end_by or (self._local_ended and self._acks.all_sent and not connection.queued):
                    return
            receives = self._can_receive()
            sockets.set(connection.sock, read=receives, write=bool(connection.queued))
            reads_local = self._acks.has_room and self._acks.all_sent and not self._local_ended
            sockets.set(self._local, read=reads_local, write=bool(self._undelivered))
            wait_s = (
                0.0
                if receives and connection.pending()
                else self._wait_s(keepalive, busy=not (receives and reads_local))
            )
            idle = not sockets.wait(wait_s)
            if receives:
                self._receive(connection)
            else:
                keepalive.not_listening()
            self._write_local()
            if reads_local:
                self._read_local()
            if self._acks.ack_due(idle=idle):
                connection.send(encode_ack(self._acks.ack()))
            keepalive.check()

    def _wait_s(self, keepalive: RelayKeepalive, *, busy: bool) -> float:
        """``busy``: one of the sockets is not selected, so its end would not wake the thread."""
        if busy:
            return _TICK_S
        if self._acks.ack_due(idle=True):
            return self._timeouts.acknowledge_after_s
        return keepalive.due_in_s()

    def _send(self, connection: WebSocketConnection, keepalive: RelayKeepalive) -> None:
        while connection.has_room and (chunk := self._acks.next_chunk()) is not None:
            connection.send(encode_data(chunk))
            keepalive.on_sent()
        connection.flush()

    def _read_local(self) -> None:
        try:
            content = self._local.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if content:
            self._acks.enqueue(content)
        else:
            self._local_ended = True

    def _receive(self, connection: WebSocketConnection) -> None:
        """A limited number of messages: a relay that keeps sending must neither stop the local side nor fill the
        memory."""
        for _ in range(_MAX_MESSAGES_PER_TURN):
            raw_message = connection.next_message() if self._can_receive() else None
            if raw_message is None:
                return
            message = parse(raw_message)
            if isinstance(message, Data):
                self._buffer_received(message.content, len(raw_message))
            elif isinstance(message, Ack):
                self._acks.on_ack(message.received)
            elif isinstance(message, CloseMessage):
                raise ClosedByRelay(Close(message.code, message.reason))
            elif isinstance(message, Connected | Resumed):
                raise Malformed(f"{type(message).__name__} in the middle of a connection")

    def _can_receive(self) -> bool:
        return self._undelivered_bytes < _MAX_UNDELIVERED_BYTES and len(self._undelivered) < _MAX_UNDELIVERED_PIECES

    def _buffer_received(self, content: memoryview, message_bytes: int) -> None:
        """``message_bytes``: the size of the message, which stays in memory as long as ``content``."""
        self._acks.received += len(content)
        self._undelivered_bytes += len(content)
        if content:
            self._undelivered.append(content if message_bytes < 2 * len(content) else memoryview(bytes(content)))

    def _write_local(self) -> None:
        try:
            while self._undelivered:
                first = self._undelivered[0]
                sent = self._local.send(first)
                self._undelivered_bytes -= sent
                if sent < len(first):
                    self._undelivered[0] = first[sent:]
                    return
                self._undelivered.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._undelivered.clear()
            self._undelivered_bytes = 0
            self._local_ended = True

    def _write_all_local(self) -> None:
        """The machine's last bytes."""
        until = time.monotonic() + _FINAL_OUTPUT_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._local, selectors.EVENT_WRITE)
            while self._undelivered and selector.select(max(0.0, until - time.monotonic())):
                self._write_local()
