"""A local connection that the engine was given, and what must be proved before it may speak."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import Protocol

from ...core.errors import RemoteRuntimeError

Address = tuple[str, int]
_MOST_REPEATED_BYTES = 32 << 10
_REPEATABLE = (b"GET ", b"HEAD ")  # RFC 9110 9.2.1: safe to be asked twice


class Proof(Protocol):
    """A request whose answer proves who listens there."""

    request: bytes

    def feed(self, data: bytes) -> bool:
        """Whether the proof is complete. Raises ``RemoteRuntimeError``."""

    def cut_short(self) -> RemoteRuntimeError:
        """What it means that the connection ended before."""


class Guest(Protocol):
    """Who brought the connection; told in the loop's thread, which it must not hold up. See ``tunnel.pump.Guest``."""

    is_ours: bool

    def began(self) -> None: ...
    def begins(self, word: bytes) -> bool: ...
    def carries(self, sent: int, received: int) -> None: ...
    def crowded_out(self, *, files: bool) -> None: ...
    def refused(self, sock: socket.socket, error: RemoteRuntimeError, *, heard: bool) -> None: ...
    def ended(self) -> None: ...


@dataclass(eq=False)
class Client:
    """``sock``: connected, non-blocking, the engine's until it is given back to the ``guest``. ``chances``: how often
    it may get another channel when one ends without an answer; only for HTTP. ``said``: what it would have to say
    again, None when it cannot."""

    sock: socket.socket
    guest: Guest
    chances: int = 0
    has_spoken: bool = False
    said: bytes | None = field(default=b"", repr=False)

    def begins(self, word: bytes) -> bool:
        """With this byte; False where it is not to be served."""
        self.has_spoken = self.guest.begins(word)
        return self.has_spoken

    def note(self, content: bytes) -> None:
        """Remember what it says while nothing was answered, if it may be said again."""
        said = (self.said or b"") + content
        self.said = said if len(said) < _MOST_REPEATED_BYTES and said.startswith(_REPEATABLE) else None

    def close(self) -> None:
        self.sock.close()
        self.guest.ended()

    def reset(self) -> None:
        """So that it sees a reset, never a clean end of data."""
        with contextlib.suppress(OSError):  # it may be gone already, which is a reset too
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def give_up(self) -> None:
        """Whoever serves it sees that it has left."""
        with contextlib.suppress(OSError):  # it has
            self.sock.shutdown(socket.SHUT_RDWR)

    def refuse(self, error: RemoteRuntimeError) -> None:
        """Give it back, unless it was answered; what it has said nobody can hear again."""
        if self.has_spoken and self.said is None:
            self.reset()
            return
        self.guest.refused(self.sock, error, heard=self.has_spoken)
