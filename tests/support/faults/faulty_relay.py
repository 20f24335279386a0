"""A relay of Identity-Aware Proxy that does everything wrong that a relay can do."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from remote_runtime.demo.iap_relay import protocol as wire
from remote_runtime.demo.iap_relay.connection import RelayConnection
from remote_runtime.demo.iap_relay.protocol import RelayRefusal, TunnelRequest
from remote_runtime.demo.iap_relay.server import Relay
from remote_runtime.demo.iap_relay.session import RelaySession
from remote_runtime.demo.iap_relay.websocket import RelaySocket

if TYPE_CHECKING:
    from websockets.http11 import Request

FaultKind = Literal[
    "rst",  # the connection is reset
    "fin",  # it is closed cleanly, without a WebSocket's close
    "tls-eof",  # TCP ends, TLS does not
    "write-error",  # nothing is read for a while, then what was written is refused
    "silence",  # nothing is read or written any more
    "close",  # a WebSocket's close with ``code``
    "long-close",  # the message for it
    "low-ack",
    "high-ack",
    "second-success",
    "oversized",  # an array above the limit
    "early-data",  # data before the success
    "garbage",
]
BREAKS: tuple[FaultKind, ...] = ("rst", "fin", "tls-eof", "write-error", "silence")
_NOT_READING_S = 0.15
_SILENT_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True)
class RelayFault:
    """What one connection does after it has transferred ``after_bytes`` in both directions together."""

    kind: FaultKind
    after_bytes: int = 0
    code: int = 0


class FaultyRelay(Relay):
    """To be set at any time: ``faults``, one for each of the next connections; ``refusals``, close codes instead of a
    success; ``statuses``, HTTP statuses instead of a WebSocket; ``tokens``, the only ones that are accepted, if any;
    ``ack_interval_bytes``: after how many it acknowledges.
    """

    def __init__(
        self, find_address: Callable[[TunnelRequest], tuple[str, int]], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.faults: deque[RelayFault] = deque()
        self.refusals: deque[int] = deque()
        self.statuses: deque[int] = deque()
        self.tokens: set[str] = set()
        self.ack_interval_bytes = RelayConnection.ack_interval_bytes
        self.connections: list[RelayConnection] = []
        super().__init__(find_address, tls=tls)

    @property
    def transferred_bytes(self) -> int:
        return sum(connection.transferred_bytes for connection in self.connections)

    @property
    def session_count(self) -> int:
        return len(self._sessions)

    def check_request(self, request: Request) -> int | None:
        if self.statuses:
            return self.statuses.popleft()
        status = super().check_request(request)
        if status is None and self.tokens and self.requests[-1].token not in self.tokens:
            return 401
        return status

    def open_session(self, request: TunnelRequest) -> RelaySession:
        if self.refusals:
            raise RelayRefusal(self.refusals.popleft(), "as it was told")
        return super().open_session(request)

    def make_connection(self, client: RelaySocket, session: RelaySession) -> RelayConnection:
        connection = FaultyConnection(client, session, self.closed)
        connection.fault = self.faults.popleft() if self.faults else None
        connection.ack_interval_bytes = self.ack_interval_bytes
        self.connections.append(connection)
        return connection


class FaultyConnection(RelayConnection):
    fault: RelayFault | None

    def greet(self, *, is_new: bool) -> None:
        if self.fault is not None and self.fault.kind == "early-data":
            self.client.put(wire.data(b"early"))
        super().greet(is_new=is_new)

    def is_over(self) -> bool:
        fault = self.fault
        if fault is not None and self.transferred_bytes >= fault.after_bytes:
            self.fault = None
            if self._ends_by(fault):
                return True
        return super().is_over()

    def _ends_by(self, fault: RelayFault) -> bool:
        """Whether the connection is over then."""
        if fault.kind in BREAKS:
            with contextlib.suppress(OSError):
                self._break(fault.kind)
            return True
        if fault.kind == "close":
            self.client.close(fault.code, "as it was told")
            return True
        if fault.kind == "garbage":
            self.client.out += b"\xff" * 64
        elif fault.kind != "early-data":
            self.client.put(self._wrong_message(fault))
        return False

    def _break(self, kind: FaultKind) -> None:
        sock = self.client.sock
        if kind == "silence":
            until = time.monotonic() + _SILENT_S
            while time.monotonic() < until and not super().is_over():
                self.closed.wait(_POLL_S)
        elif kind in ("write-error", "rst"):
            if kind == "write-error" and not self.session.detach_requested.is_set():
                self.closed.wait(_NOT_READING_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0))
            sock.close()
        else:
            if kind == "fin" and isinstance(sock, ssl.SSLSocket):
                with contextlib.suppress(ssl.SSLError):
                    sock.unwrap()  # tells that TLS ends; the client's answer is not awaited
            self.client.shut_down_and_drain()

    def _wrong_message(self, fault: RelayFault) -> bytes:
        reason = b"as it was told"
        if fault.kind == "long-close":
            return struct.pack(">HII", 10, fault.code, len(reason)) + reason
        if fault.kind == "low-ack":
            self.client.put(wire.ack(self.session.received))
            return wire.ack(self.session.received - 1)
        if fault.kind == "high-ack":
            return wire.ack(self.session.received + (1 << 40))
        if fault.kind == "second-success":
            return wire.connect_success_sid(self.session.sid)
        if fault.kind == "oversized":
            return wire.data(bytes(wire.MAX_ARRAY_BYTES + 1))
        raise ValueError(f"{fault.kind} is no message")
