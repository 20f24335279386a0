"""A local connection that the engine was given, and what must be proved before it may speak."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ...errors import RemoteRuntimeError

_MOST_REPEATED_BYTES = 32 << 10
_REPEATABLE = (b"GET ", b"HEAD ")  # RFC 9110 9.2.1: safe to be asked twice


class Proof(Protocol):
    """A request whose answer proves who listens there."""

    request: bytes

    def feed(self, data: bytes) -> bool:
        """Whether the proof is complete. Raises ``RemoteRuntimeError``."""

    def cut_short(self) -> RemoteRuntimeError:
        """What it means that the connection ended before."""


@dataclass(eq=False)
class Client:
    """``sock``: connected, non-blocking, the engine's until ``refused`` gives it back. ``refused`` and ``ended`` (with
    the number of bytes that it sent) are called in the loop's thread, one of them, once; they must not block.
    ``chances``: how often it may get another channel when one ends without an answer; only for HTTP. ``said``: what it
    would have to say again, None when it cannot. ``began`` is called when its channel is open."""

    sock: socket.socket
    refused: Callable[[socket.socket, RemoteRuntimeError], None]
    ended: Callable[[int], None]
    chances: int = 0
    began: Callable[[], None] = lambda: None
    sent: int = 0
    said: bytes | None = field(default=b"", repr=False)

    def note(self, content: bytes) -> None:
        """Remember what it says while nothing was answered, if it may be said again."""
        said = (self.said or b"") + content
        self.said = said if len(said) < _MOST_REPEATED_BYTES and said.startswith(_REPEATABLE) else None

    def close(self) -> None:
        self.sock.close()
        self.ended(self.sent)

    def reset(self) -> None:
        """So that it sees a reset, never a clean end of data."""
        with contextlib.suppress(OSError):  # it may be gone already, which is a reset too
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def refuse(self, error: RemoteRuntimeError) -> None:
        self.refused(self.sock, error)
