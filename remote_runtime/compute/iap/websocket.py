"""A WebSocket connection on a non-blocking socket."""

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
# Well above the tunnel's own data: the rest are pongs for a relay that sends pings and does not read.
_MAX_QUEUED_BYTES = 1 << 20
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NO_CODE = 1005  # RFC 6455 7.4.1


class ConnectionLost(Exception):
    """The connection failed; the text says why. The session may be resumed on another one."""


class ClosedByRelay(Exception):
    """The relay closed the connection with a code."""

    def __init__(self, close: Close) -> None:
        super().__init__(str(close))
        self.close = close


class WebSocketConnection:
    """``sock`` and ``protocol`` have finished the handshake. ``last_received_at``: monotonic clock. ``answers_pings``:
    the relay has answered a ping, on this connection or an earlier one, so it must answer all."""

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
        self._parse()  # bytes that came with the handshake's response

    @property
    def queued(self) -> int:
        return len(self._send_buffer)

    @property
    def has_room(self) -> bool:
        """False while what is queued would delay urgent messages."""
        return len(self._send_buffer) < _FULL_BYTES

    def send(self, message: bytes) -> None:
        """Does nothing after the relay has closed: ``next_message`` raises then, after the messages before it."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(message)
            self._collect()

    def ping(self) -> None:
        """Does nothing after the relay has closed."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._collect()

    def flush(self) -> None:
        """Sends as much as the socket takes. Raises ``ConnectionLost``."""
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
        """The next message; None if none has come yet. Raises ``ConnectionLost``, ``ClosedByRelay``.

        Reads the socket at most once: frames without a message (pongs, empty fragments) may come for ever.
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
        """True if there are received bytes for which the socket is not readable."""
        return bool(self._messages) or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0)

    def close(self) -> None:
        """Sends a close frame, if that is possible without waiting."""
        with contextlib.suppress(ConnectionLost, InvalidState):
            self._protocol.send_close(1000)
            self._collect()
            self.flush()
        self.drop()

    def drop(self) -> None:
        self.sock.close()

    def _check_open(self) -> None:
        """Raises ``ClosedByRelay`` or ``ConnectionLost`` if nothing more can come."""
        if self._close is not None:
            raise ClosedByRelay(self._close)
        if len(self._send_buffer) > _MAX_QUEUED_BYTES:
            raise ConnectionLost("the relay sends pings but reads no replies")
        if self._protocol.parser_exc is not None:
            raise ConnectionLost(f"it sent an invalid WebSocket frame: {self._protocol.parser_exc}")

    def _read(self) -> bool:
        """True if bytes came."""
        try:
            content = self.sock.recv(_READ_BYTES)
        except _WOULD_BLOCK:
            return False
        except OSError as error:
            raise ConnectionLost(_describe(error)) from error
        if not content:
            raise ConnectionLost("the relay closed the connection")
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
