"""A WebSocket on a socket that never blocks: messages in and out, and every way it can break."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections import deque

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from .close_codes import Close

_READ_BYTES = 64 << 10
_FULL_BYTES = 128 << 10
# Well above what may be queued of ours: the rest are answers to pings of a relay that reads none of them.
_MAX_QUEUED_BYTES = 1 << 20
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NO_CODE = 1005  # RFC 6455 7.4.1


class ConnectionLost(Exception):
    """The connection is gone, in whatever way; why, in words. The session may be resumed on another one."""


class ClosedByRelay(Exception):
    """The relay closed the connection, and says why."""

    def __init__(self, close: Close) -> None:
        super().__init__(str(close))
        self.close = close


class WebSocketConnection:
    """``sock`` and ``protocol`` have shaken hands. ``heard_at``: when the last bytes came (monotonic clock).
    ``answers_pings``: the relay has answered one, here or on an earlier connection, so that it must answer all."""

    def __init__(self, sock: socket.socket, protocol: ClientProtocol) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.last_received_at = time.monotonic()
        self.answers_pings = False
        self._protocol = protocol
        self._send_buffer = bytearray()
        self._messages: deque[bytes] = deque()
        self._partial_message = b""
        self._close: Close | None = None
        self._parse()  # what came along with the handshake's answer

    @property
    def queued(self) -> int:
        return len(self._send_buffer)

    @property
    def has_room(self) -> bool:
        """Whether more may be queued without making what is urgent wait."""
        return len(self._send_buffer) < _FULL_BYTES

    def send(self, message: bytes) -> None:
        """Nothing, once the relay has closed: ``next`` tells that when all that came before it is read."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(message)
            self._collect()

    def ping(self) -> None:
        """As ``put``."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._collect()

    def flush(self) -> None:
        """As much as the socket takes. Raises ``Broken``."""
        try:
            while self._send_buffer:
                with memoryview(self._send_buffer) as view:
                    sent = self.sock.send(view)
                del self._send_buffer[:sent]
        except _WOULD_BLOCK:
            return
        except OSError as error:
            raise ConnectionLost(_describe(error)) from error

    def next_message(self) -> bytes | None:
        """The next message; None when no more has come yet. Raises ``Broken``, ``Closed``.

        The socket is read once at most: what carries no message (pongs, empty fragments) may come for ever.
        """
        if not self._messages:
            self._check_open()
            if self._read():
                self._parse()
        if self._messages:
            return self._messages.popleft()
        self._check_open()
        return None

    def pending(self) -> bool:
        """Whether there is more to receive that the socket does not show as readable."""
        return bool(self._messages) or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0)

    def close(self) -> None:
        """Say good-bye, if that can be done without waiting."""
        with contextlib.suppress(ConnectionLost, InvalidState):
            self._protocol.send_close(1000)
            self._collect()
            self.flush()
        self.drop()

    def drop(self) -> None:
        self.sock.close()

    def _check_open(self) -> None:
        """Whether more can come."""
        if self._close is not None:
            raise ClosedByRelay(self._close)
        if len(self._send_buffer) > _MAX_QUEUED_BYTES:
            raise ConnectionLost("the relay asks, and takes no answer")
        if self._protocol.parser_exc is not None:
            raise ConnectionLost(f"it sent what is no WebSocket's: {self._protocol.parser_exc}")

    def _read(self) -> bool:
        """Whether anything came."""
        try:
            content = self.sock.recv(_READ_BYTES)
        except _WOULD_BLOCK:
            return False
        except OSError as error:
            raise ConnectionLost(_describe(error)) from error
        if not content:
            raise ConnectionLost("the relay closed the connection without a word")
        self.last_received_at = time.monotonic()
        self._protocol.receive_data(content)
        return True

    def _parse(self) -> None:
        for event in self._protocol.events_received():
            if not isinstance(event, Frame):
                continue
            if event.opcode is Opcode.BINARY or event.opcode is Opcode.CONT:
                self._partial_message = (
                    self._partial_message + event.data if self._partial_message else bytes(event.data)
                )
                if event.fin:
                    self._messages.append(self._partial_message)
                    self._partial_message = b""
            elif event.opcode is Opcode.CLOSE:
                close = self._protocol.close_rcvd
                self._close = Close(close.code, close.reason) if close else Close(_NO_CODE)
            elif event.opcode is Opcode.PONG:
                self.answers_pings = True
        self._collect()

    def _collect(self) -> None:
        for part in self._protocol.data_to_send():
            self._send_buffer += part


def _describe(error: OSError) -> str:
    if isinstance(error, ssl.SSLEOFError):
        return "TLS ended in the middle"
    return (error.strerror or str(error)).lower()
