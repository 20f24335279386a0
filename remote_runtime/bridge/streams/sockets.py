"""Sockets of the server's event loop as the ends of streams and carriers."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Callable, List

from tornado.ioloop import IOLoop

from .protocol.frames import Buffer

if TYPE_CHECKING:
    from .protocol.carrier import Carrier
    from .protocol.stream import ResumableStream

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
_received = bytearray(1 << 20)  # of one event at a time
_view = memoryview(_received)


class _Watcher:
    """Watches a non-blocking socket in the current event loop. ``on_ready(events)``: an error counts as readable."""

    def __init__(self, sock: socket.socket, on_ready: Callable[[int], None]) -> None:
        self._sock = sock
        self._on_ready = on_ready
        self._loop = IOLoop.current()
        self._events = 0

    def watch(self, events: int) -> None:
        if events and self._events:
            self._loop.update_handler(self._sock, events)
        elif events:
            self._loop.add_handler(self._sock, lambda _, ready: self._on_ready(ready), events)
        elif self._events:
            self._loop.remove_handler(self._sock)
        self._events = events


def _send(sock: socket.socket, buffers: List[Buffer]) -> int:
    send_many: Any = getattr(sock, "sendmsg", None)  # not on Windows
    sent: int = send_many(buffers) if send_many else sock.send(buffers[0])
    return sent


class LocalSocket:
    """The session's end of ``stream`` (``protocol.stream.LocalConnection``). ``on_sent``: called when the HTTP server
    has got bytes of the client."""

    stream: ResumableStream

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.on_sent: Callable[[], None] = lambda: None
        self._sock = sock
        self._watcher = _Watcher(sock, self._on_ready)
        self._in_socket = 0  # bytes that the HTTP server has written to it, and the stream has not read

    def serve(self, stream: ResumableStream) -> None:
        self.stream = stream

    def take(self, content: memoryview) -> int:
        """How many bytes that the HTTP server writes the stream takes at once; 0 if they must go through the socket."""
        return 0 if self._in_socket else self.stream.take(content)

    def count_written(self, count: int) -> int:
        """The HTTP server has written so many bytes to the socket."""
        self._in_socket += count
        return count

    def recv(self, max_bytes: int) -> bytes:
        content = self._sock.recv(max_bytes)
        self._in_socket -= len(content)
        return content

    def send(self, buffers: List[Buffer]) -> int:
        sent = _send(self._sock, buffers)
        self.on_sent()
        return sent

    def watch(self, *, readable: bool, writable: bool) -> None:
        self._watcher.watch((IOLoop.READ if readable else 0) | (IOLoop.WRITE if writable else 0))

    def shut_down(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool) -> None:
        if reset and self._sock.fileno() >= 0 and self._sock.family != getattr(socket, "AF_UNIX", None):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._sock.close()

    def _on_ready(self, events: int) -> None:
        if events & IOLoop.WRITE:
            self.stream.on_writable()
        if events & ~IOLoop.WRITE:
            self.stream.on_readable()


class CarrierSocket:
    """A connection that was taken over from the HTTP server (``protocol.carrier.CarrierTransport``)."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._watcher = _Watcher(sock, self._on_ready)

    def serve(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._watcher.watch(IOLoop.READ)

    def send(self, buffers: List[Buffer]) -> int:
        try:
            return _send(self._sock, buffers)
        except BlockingIOError:
            return 0

    def watch_writable(self, wanted: bool) -> None:
        self._watcher.watch(IOLoop.READ | (IOLoop.WRITE if wanted else 0))

    def close(self) -> None:
        self._watcher.watch(0)
        self._sock.close()

    def _on_ready(self, events: int) -> None:
        if events & IOLoop.WRITE:
            self._carrier.on_writable()
        if events & ~IOLoop.WRITE and not self._carrier.is_closed:
            self._read()

    def _read(self) -> None:
        try:
            count = self._sock.recv_into(_received)
        except BlockingIOError:
            return
        except OSError as error:
            self._carrier.on_lost(error.strerror or str(error))
            return
        if count:
            self._carrier.on_received(_view[:count])
            self._carrier.on_all_received()
        else:
            self._carrier.on_lost("the client closed it")
