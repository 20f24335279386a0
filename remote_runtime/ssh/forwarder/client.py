"""A local connection that the engine was given, and what must be proved before it may speak."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import Protocol

from ...core.errors import RemoteRuntimeError

Address = tuple[str, int]
_MAX_REPLAY_BYTES = 32 << 10
_REPLAYABLE_METHODS = (b"GET ", b"HEAD ")  # RFC 9110 9.2.1: safe to be asked twice


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
    """``sock``: connected, non-blocking, the engine's until it is given back to the ``guest``. ``chances``: how often
    it may get another channel when one ends without an answer; only for HTTP. ``said``: what it would have to say
    again, None when it cannot."""

    sock: socket.socket
    handler: ConnectionHandler
    retries_left: int = 0
    has_sent: bool = False
    replay_buffer: bytes | None = field(default=b"", repr=False)

    def on_first_bytes(self, first_byte: bytes) -> bool:
        """With this byte; False where it is not to be served."""
        self.has_sent = self.handler.on_first_bytes(first_byte)
        return self.has_sent

    def remember(self, content: bytes) -> None:
        """Remember what it says while nothing was answered, if it may be said again."""
        sent = (self.replay_buffer or b"") + content
        self.replay_buffer = sent if len(sent) < _MAX_REPLAY_BYTES and sent.startswith(_REPLAYABLE_METHODS) else None

    def close(self) -> None:
        self.sock.close()
        self.handler.on_closed()

    def reset(self) -> None:
        """So that it sees a reset, never a clean end of data."""
        with contextlib.suppress(OSError):  # it may be gone already, which is a reset too
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def shut_down(self) -> None:
        """Whoever serves it sees that it has left."""
        with contextlib.suppress(OSError):  # it has
            self.sock.shutdown(socket.SHUT_RDWR)

    def return_with_error(self, error: RemoteRuntimeError) -> None:
        """Give it back, unless it was answered; what it has said nobody can hear again."""
        if self.has_sent and self.replay_buffer is None:
            self.reset()
            return
        self.handler.on_refused(self.sock, error, request_lost=self.has_sent)
