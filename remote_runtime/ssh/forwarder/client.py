"""A local connection that a pool has taken over, and the sockets that accept such connections."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import Protocol

from ...core.errors import RemoteRuntimeError

Address = tuple[str, int]
_MAX_REPLAY_BYTES = 32 << 10
_REPLAYABLE_METHODS = (b"GET ", b"HEAD ")  # safe methods: RFC 9110 9.2.1


class IdentityCheck(Protocol):
    """A request whose answer proves who listens there."""

    request: bytes

    def feed(self, data: bytes) -> bool:
        """Whether the proof is complete. Raises ``RemoteRuntimeError``."""

    def eof_error(self) -> RemoteRuntimeError:
        """What it means that the connection ended before."""


class ConnectionHandler(Protocol):
    """Who brought the connection; told in the loop's thread, which it must not hold up. See ``tunnel.pump.Guest``."""

    is_ours: bool

    def on_opened(self) -> None: ...
    def on_first_bytes(self, first_byte: bytes) -> bool: ...
    def on_transfer(self, sent: int, received: int) -> None: ...
    def on_over_limit(self, *, files: bool) -> None: ...
    def on_refused(self, sock: socket.socket, error: RemoteRuntimeError, *, request_lost: bool) -> None: ...
    def on_closed(self) -> None: ...


@dataclass(eq=False)
class Client:
    """``sock``: connected, non-blocking, owned here until it is returned to the ``handler``. ``retries_left``: how
    often it may get another channel after one ended without an answer; 0 unless it speaks HTTP. ``replay_buffer``: what
    it has sent, to be sent again on another channel; None if that is impossible."""

    sock: socket.socket
    handler: ConnectionHandler
    retries_left: int = 0
    has_sent: bool = False
    replay_buffer: bytes | None = field(default=b"", repr=False)

    def on_first_bytes(self, first_byte: bytes) -> bool:
        """Returns False if the client must not be served."""
        self.has_sent = self.handler.on_first_bytes(first_byte)
        return self.has_sent

    def remember(self, content: bytes) -> None:
        """Add to the replay buffer, or give it up: too long, or not safe to repeat."""
        sent = (self.replay_buffer or b"") + content
        self.replay_buffer = sent if len(sent) < _MAX_REPLAY_BYTES and sent.startswith(_REPLAYABLE_METHODS) else None

    def close(self) -> None:
        self.sock.close()
        self.handler.on_closed()

    def reset(self) -> None:
        """Close it with a TCP reset."""
        with contextlib.suppress(OSError):  # it may be gone already, which is a reset too
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def shut_down(self) -> None:
        """Shut the socket down, so that the connection that serves it sees EOF."""
        with contextlib.suppress(OSError):  # it is closed already
            self.sock.shutdown(socket.SHUT_RDWR)

    def return_with_error(self, error: RemoteRuntimeError) -> None:
        """Return the socket to the handler; if its request was sent and cannot be sent again, reset it instead."""
        if self.has_sent and self.replay_buffer is None:
            self.reset()
            return
        self.handler.on_refused(self.sock, error, request_lost=self.has_sent)
