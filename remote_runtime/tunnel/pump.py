"""Moving bytes between a local connection and the machine, both ways in one thread."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ..errors import RemoteRuntimeError
from .identity import Proof, Stream
from .visitors import Address

PIECE = 256 << 10


class Way(Protocol):
    """How connections reach the machine."""

    @property
    def closed(self) -> bool:
        """Whether the link under it is dead."""

    def dial(self) -> Stream:
        """A new connection. Raises ``RemoteRuntimeError``."""

    def lane(self, prove: Callable[[], Proof] | None) -> Lane | None:
        """What carries connections without a thread for each, if this way has that. Raises ``RemoteRuntimeError``."""


class Visit(Protocol):
    """Who is told of a client's bytes."""

    def begins(self, word: bytes) -> bool: ...
    def carries(self, sent: int, received: int) -> None: ...


class Guest(Protocol):
    """Who brought a connection to a lane. Called in another thread, which it must not hold up; ``refused`` or
    ``ended`` once, as the last."""

    def crowded_out(self, *, files: bool) -> None:
        """There is no room for it, or no file; it is reset."""

    def began(self) -> None:
        """It has a channel of its own now."""

    def begins(self, word: bytes) -> bool:
        """The client's first byte. False: it is not to be served, and is closed."""

    def carries(self, sent: int, received: int) -> None:
        """So many bytes were taken from the client, and so many given to it."""

    def refused(self, sock: socket.socket, error: RemoteRuntimeError, *, heard: bool) -> None:
        """It is not the lane's any more, and was never served. ``heard``: what it has asked for is lost."""

    def ended(self) -> None:
        """It is closed."""


class Lane(Protocol):
    """Takes local connections over and moves their bytes itself, after the proof that was asked for."""

    closed: bool

    def carry(self, sock: socket.socket, guest: Guest) -> None:
        """``sock``: connected, non-blocking, the lane's from now on."""

    def serve(self, listeners: Sequence[socket.socket], receive: Callable[[Address], Guest]) -> None:
        """``carry`` whatever they accept, until ``closed``; ``receive`` is told where it came from."""

    def rest(self) -> None:
        """Carry on what it carries, accept nothing more."""

    def close(self) -> None:
        """Reset what it carries, accept nothing more."""


def pump(client: socket.socket, stream: Stream, way: Way, called_off: Callable[[], bool], visit: Visit) -> None:
    """Move bytes both ways until both ends are done, each half closed as it ends.

    ``visit`` is told what the client says and hears. A reset of the client, or a link that dies, resets the
    other end.
    """

    silent = True

    def hear(size: int) -> bytes:
        nonlocal silent
        said = client.recv(size)
        if said and silent and not visit.begins(said[:1]):
            raise ConnectionError("it does not speak http")
        if said:
            silent = False
            visit.carries(len(said), 0)
        return said

    def tell(content: bytes) -> int:
        count = client.send(content)
        visit.carries(0, count)
        return count

    outward, inward = _Half(hear, stream.send, stream.shutdown_write), _Half(
        stream.recv, tell, lambda: client.shutdown(socket.SHUT_WR)
    )  # fmt: skip
    try:
        with selectors.DefaultSelector() as selector:
            while not (outward.done and inward.done):
                if called_off():
                    raise ConnectionError("the link to the machine was lost")
                outward.move()
                inward.move()
                if inward.ended and way.closed:
                    raise ConnectionError("the link to the machine was lost")
                _wait(selector, client, stream, outward, inward)
    except OSError:
        reset(client)
    finally:
        stream.close()


class _Half:
    """One direction: what was read and could not be written yet is kept, and nothing more is read meanwhile."""

    def __init__(self, read: Callable[[int], bytes], write: Callable[[bytes], int], end: Callable[[], None]) -> None:
        self._read, self._write, self._end = read, write, end
        self.pending = b""
        self.ended = False
        self.done = False

    def move(self) -> None:
        while not self.done:
            if not self.pending and not self.ended:
                try:
                    self.pending = self._read(PIECE)
                except BlockingIOError:
                    return
                self.ended = not self.pending
            if self.pending:
                try:
                    self.pending = self.pending[self._write(self.pending) :]
                except BlockingIOError:
                    return
            elif self.ended:
                self.done = True
                self._end()


def _wait(
    selector: selectors.BaseSelector, client: socket.socket, stream: Stream, outward: _Half, inward: _Half
) -> None:
    events_client = 0
    if not outward.pending and not outward.ended:
        events_client |= selectors.EVENT_READ
    if inward.pending:
        events_client |= selectors.EVENT_WRITE
    _watch(selector, client, events_client)
    _watch(selector, stream, selectors.EVENT_READ if not inward.pending and not inward.ended else 0)
    # A stream has no event for "there is room again": look again soon.
    limit = 0.005 if outward.pending else 0.5
    if selector.get_map():
        selector.select(limit)
    elif not (outward.done and inward.done):
        time.sleep(limit)


def _watch(selector: selectors.BaseSelector, end: socket.socket | Stream, events: int) -> None:
    known = selector.get_map().get(end)
    if known is None and events:
        selector.register(end, events)
    elif known is not None and not events:
        selector.unregister(end)
    elif known is not None and known.events != events:
        selector.modify(end, events)


def refuse(client: socket.socket, error: RemoteRuntimeError, *, http: bool) -> None:
    """Tell a browser why there is no answer; reset what is not HTTP."""
    if not http:
        reset(client)
        return
    body = "\n".join([error.what, error.why.replace("\n", " "), error.hint]).encode()
    head = (
        f"HTTP/1.1 502 {error.code}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError):  # a browser that left needs no answer
        client.settimeout(2.0)
        client.sendall(head.encode() + body)
        client.shutdown(socket.SHUT_WR)
        until = time.monotonic() + 1.0
        while time.monotonic() < until and client.recv(65536):
            pass


def reset(client: socket.socket) -> None:
    """Close so that the other end sees a reset, never a clean end of data."""
    with contextlib.suppress(OSError):  # it may be gone already, which is a reset too
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def without_delay(connection: socket.socket) -> None:
    """Send small pieces at once."""
    with contextlib.suppress(OSError):  # macOS: EINVAL when the other end has left, which reading will tell
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class SocketStream:
    """A ``Stream`` over a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            without_delay(connection)
        self._socket = connection
        self.fileno = connection.fileno
        self.recv = connection.recv
        self.send = connection.send
        self.close = connection.close

    def shutdown_write(self) -> None:
        with contextlib.suppress(OSError):  # the other end closed both halves first
            self._socket.shutdown(socket.SHUT_WR)
