"""Copies bytes between a local connection and the machine, both ways in one thread."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable

from ..core.errors import RemoteRuntimeError
from .connection_stats import ConnectionRecord
from .identity import Stream
from .protocols import Upstream

CHUNK_BYTES = 256 << 10
POLL_S = 0.5  # between checks for cancellation
DRAIN_TIMEOUT_S = 5.0
CONFIRM_TIMEOUT_S = 2.0
SO_NWRITE = 0x1024  # macOS


def relay(
    client: socket.socket,
    stream: Stream,
    upstream: Upstream,
    is_cancelled: Callable[[], bool],
    record: ConnectionRecord,
) -> None:
    """Copy bytes both ways until both ends are done, and pass each EOF on. ``record`` counts the bytes.

    A reset by the client ends the upstream connection. If the link is lost, the client is reset after the data that had
    arrived. If the upstream connection accepts no more data, what it has sent is still delivered.
    """
    refused_at = 0.0

    def send_outward(content: bytes) -> int:
        nonlocal refused_at
        try:
            return stream.send(content)
        except BlockingIOError:
            raise
        except OSError:  # discard the client's data: closing a socket with unread input would reset it
            refused_at = refused_at or time.monotonic()
            return len(content)

    def end_outward() -> None:
        with contextlib.suppress(OSError):
            stream.shutdown_write()

    def read_client(size: int) -> bytes:
        content = client.recv(size)
        if content and record.outcome == "waiting" and not record.on_first_bytes(content[:1]):
            raise ConnectionError("it does not speak http")
        record.on_transfer(len(content), 0)
        return content

    def write_client(content: bytes) -> int:
        count = client.send(content)
        record.on_transfer(0, count)
        return count

    outward = _Direction(read_client, send_outward, end_outward)
    inward = _Direction(stream.recv, write_client, lambda: client.shutdown(socket.SHUT_WR))
    try:
        with selectors.DefaultSelector() as selector:
            while not (outward.done and inward.done):
                if is_cancelled():
                    raise ConnectionError("the link to the machine was lost")
                outward.transfer()
                inward.transfer()
                if inward.eof and upstream.closed:
                    raise ConnectionError("the link to the machine was lost")
                if inward.done and not refused_at and stream.closed:
                    refused_at = time.monotonic()
                if inward.done and refused_at and time.monotonic() - refused_at > DRAIN_TIMEOUT_S:
                    break
                _wait(selector, client, stream, outward, inward)
    except OSError:
        wait_until_acknowledged(client)
        reset(client)
    finally:
        stream.close()


class _Direction:
    """One direction. While data that was read cannot be written, nothing more is read."""

    def __init__(self, read: Callable[[int], bytes], write: Callable[[bytes], int], end: Callable[[], None]) -> None:
        self._read, self._write, self._end = read, write, end
        self.pending = b""
        self.eof = False
        self.done = False

    def transfer(self) -> None:
        while not self.done:
            if not self.pending and not self.eof:
                try:
                    self.pending = self._read(CHUNK_BYTES)
                except BlockingIOError:
                    return
                self.eof = not self.pending
            if self.pending:
                try:
                    self.pending = self.pending[self._write(self.pending) :]
                except BlockingIOError:
                    return
            elif self.eof:
                self.done = True
                self._end()


def _wait(
    selector: selectors.BaseSelector, client: socket.socket, stream: Stream, outward: _Direction, inward: _Direction
) -> None:
    wanted: dict[int, int] = {}
    if not outward.pending and not outward.eof:
        wanted[client.fileno()] = selectors.EVENT_READ
    if inward.pending:
        wanted[client.fileno()] = wanted.get(client.fileno(), 0) | selectors.EVENT_WRITE
    elif not inward.eof:
        wanted[stream.fileno()] = selectors.EVENT_READ
    if outward.pending:
        descriptor, event = stream.writable()
        wanted[descriptor] = wanted.get(descriptor, 0) | event
    for key in list(selector.get_map().values()):
        selector.unregister(key.fd)
    for descriptor, events in wanted.items():
        selector.register(descriptor, events)
    if wanted:
        selector.select(POLL_S)
    elif not (outward.done and inward.done):
        time.sleep(POLL_S)


def wait_until_acknowledged(client: socket.socket) -> None:
    """Wait, for ``CONFIRM_TIMEOUT_S`` at most: a reset discards data that the other end has not acknowledged."""
    until = time.monotonic() + CONFIRM_TIMEOUT_S
    with contextlib.suppress(OSError, ValueError):  # the client has left
        while unacknowledged_bytes(client) and time.monotonic() < until:
            time.sleep(0.005)


def unacknowledged_bytes(client: socket.socket) -> int:
    """How many sent bytes the other end has not acknowledged; 0 if the system can't report it. Raises ``OSError``."""
    if sys.platform == "linux":
        import fcntl
        import termios

        return int.from_bytes(fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return client.getsockopt(socket.SOL_SOCKET, SO_NWRITE) if sys.platform == "darwin" else 0


def send_error(client: socket.socket, error: RemoteRuntimeError, *, http: bool) -> None:
    """Answer an HTTP client with 502 and the error; reset another one."""
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
    """Close with a TCP reset."""
    with contextlib.suppress(OSError):  # it is closed already
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def set_nodelay(connection: socket.socket) -> None:
    """Disable Nagle's algorithm."""
    with contextlib.suppress(OSError):  # macOS: EINVAL when the other end has left, which reading will show
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class SocketStream:
    """A ``Stream`` over a connected socket."""

    closed = False  # writing to the socket shows it

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            set_nodelay(connection)
        self._socket = connection
        self.fileno = connection.fileno
        self.recv = connection.recv
        self.send = connection.send
        self.close = connection.close

    def writable(self) -> tuple[int, int]:
        return self.fileno(), selectors.EVENT_WRITE

    def shutdown_write(self) -> None:
        with contextlib.suppress(OSError):  # the other end closed both halves first
            self._socket.shutdown(socket.SHUT_WR)
