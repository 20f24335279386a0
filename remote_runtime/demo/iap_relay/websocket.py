"""The relay's end of one WebSocket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from .protocol import ORIGIN, SUBPROTOCOL

_READ_BYTES = 64 << 10
_MAX_READ_BYTES = 512 << 10
_HANDSHAKE_TIMEOUT_S = 10.0
_DRAIN_TIMEOUT_S = 5.0
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class PeerGone(Exception):
    """The client has disconnected. ``closed_cleanly``: it closed the WebSocket."""

    def __init__(self, *, closed_cleanly: bool) -> None:
        super().__init__()
        self.closed_cleanly = closed_cleanly


class RelaySocket:
    """``sock``: accepted, after its TLS handshake, blocking. ``handshake`` is called first."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.out = bytearray()
        self._protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=1 << 20)

    def handshake(self, check_request: Callable[[Request], int | None]) -> Request | None:
        """``check_request`` returns the HTTP status of a refusal, or None. Returns None if the request was refused."""
        self.sock.settimeout(_HANDSHAKE_TIMEOUT_S)
        request = None
        while request is None:
            content = self.sock.recv(_READ_BYTES)
            if not content:
                return None
            self._protocol.receive_data(content)
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    request = event
        headers = request.headers
        is_other_client = headers.get("Origin") != ORIGIN or headers.get("Sec-WebSocket-Protocol") != SUBPROTOCOL
        status = 400 if is_other_client else check_request(request)
        response = self._protocol.reject(status, "") if status else self._protocol.accept(request)
        self._protocol.send_response(response)
        self._queue_output()
        self.sock.sendall(self.out)
        self.out.clear()
        self.sock.setblocking(False)
        return request if response.status_code == 101 else None

    def put(self, message: bytes) -> None:
        self._protocol.send_binary(message)
        self._queue_output()

    def flush(self) -> None:
        try:
            while self.out:
                with memoryview(self.out) as view:
                    sent = self.sock.send(view)
                del self.out[:sent]
        except _WOULD_BLOCK:
            return
        except OSError as error:
            raise PeerGone(closed_cleanly=False) from error

    def receive(self) -> list[bytes]:
        """The messages received so far. Raises ``PeerGone``."""
        messages: list[bytes] = []
        taken = 0
        while taken < _MAX_READ_BYTES:
            try:
                content = self.sock.recv(_READ_BYTES)
            except _WOULD_BLOCK:
                break
            except OSError as error:
                raise PeerGone(closed_cleanly=False) from error
            if not content:
                raise PeerGone(closed_cleanly=False)
            taken += len(content)
            self._protocol.receive_data(content)
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                    messages.append(bytes(event.data))
                elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                    raise PeerGone(closed_cleanly=True)
            self._queue_output()
        return messages

    def pending(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def close(self, code: int, reason: str) -> None:
        """Closes the WebSocket, and gives the client time to read that."""
        with contextlib.suppress(OSError, PeerGone):
            self._protocol.send_close(code, reason)
            self._queue_output()
            self.sock.settimeout(_DRAIN_TIMEOUT_S)
            self.sock.sendall(self.out)
            self.shut_down_and_drain()

    def shut_down_and_drain(self) -> None:
        """Ends TCP; reads what the client still sends, so that the connection is not reset."""
        socket.socket.shutdown(self.sock, socket.SHUT_WR)
        until = time.monotonic() + _DRAIN_TIMEOUT_S
        self.sock.settimeout(0.1)
        while time.monotonic() < until:
            try:
                if not socket.socket.recv(self.sock, _READ_BYTES):
                    return
            except TimeoutError:
                continue

    def _queue_output(self) -> None:
        for part in self._protocol.data_to_send():
            self.out += part
