"""The local end of the tunnel: one port on both loopback addresses, led to the machine connection by connection.

The port is bound once and stays bound. While there is no way to the machine, new connections wait, bounded in
number and time; those under way are reset.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable

from ..errors import RemoteRuntimeError
from ..model import Secret
from ..waits import Deadline
from .identity import Stream, prove
from .pump import Way, pump, reset
from .visitors import Address, Visit, Visitors

log = logging.getLogger(__name__)
MOST_CONNECTIONS = 1024
FILES_EACH = 3  # of a connection: its client, its way to the machine, what waits for both
OTHER_FILES = 64
NO_FILES_S = 0.2
MOST_WAITING = 256
WAITING_S = 30.0
DIAL_S = 15.0


class Front:
    """A bound local port. ``token``: when given, what answers must prove that it knows it before it is sent a byte."""

    def __init__(self, listeners: list[socket.socket], *, http: bool = True) -> None:
        self.port: int = listeners[0].getsockname()[1]
        self.failure: RemoteRuntimeError | None = None
        self.on_failure: Callable[[RemoteRuntimeError], None] = lambda error: None
        self.visitors = Visitors(self.port)
        self._http = http
        self._listeners = listeners
        self._way: Way | None = None
        self._token: Secret | None = None
        self._changed = threading.Condition()
        self._generation = 0
        self._waiting = 0
        self._most = most_connections()
        self._threads: set[threading.Thread] = set()
        self._closing = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, daemon=True, name=f"front-{self.port}")
        self._acceptor.start()

    def through(self, way: Way, token: Secret | None) -> None:
        """Lead connections this way from now on, those that wait first."""
        with self._changed:
            self._way, self._token, self.failure = way, token, None
            self._changed.notify_all()

    def hold(self) -> None:
        """There is no way now: reset what is under way, let new connections wait."""
        with self._changed:
            self._way = None
            self._generation += 1

    @property
    def alive(self) -> bool:
        """Whether connections are accepted."""
        return self._acceptor.is_alive()

    def close(self) -> None:
        self._closing.set()
        self.hold()
        with self._changed:
            self._changed.notify_all()
        self._acceptor.join(5)
        for listener in self._listeners:
            listener.close()
        for thread in list(self._threads):
            thread.join(5)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for listener in self._listeners:
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ)
            while not self._closing.is_set():
                for key, _ in selector.select(0.2):
                    try:
                        client, came_from = key.fileobj.accept()  # type: ignore[union-attr]  # registered above: sockets
                    except OSError as error:
                        # Another reader cannot be there, but the client may have left between select and accept.
                        if error.errno in (errno.EMFILE, errno.ENFILE):
                            log.warning("a connection must wait: %s", error)
                            self._closing.wait(NO_FILES_S)
                    else:
                        self._start(client, came_from[:2])

    def _start(self, client: socket.socket, came_from: Address) -> None:
        if len(self._threads) >= self._most:
            reset(client)
            return
        name = f"front-{self.port}-conn"
        thread = threading.Thread(target=self._receive, args=(client, came_from), daemon=True, name=name)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the computer has no room for another thread
            log.warning("a connection is sent away: %s", error)
            self._threads.discard(thread)
            reset(client)

    def _receive(self, client: socket.socket, came_from: Address) -> None:
        with self.visitors.visit(came_from) as visit:
            self._serve(client, visit)

    def _serve(self, client: socket.socket, visit: Visit) -> None:
        try:
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            way, token, generation = self._wait_for_way()
            stream = self._dial(way, token)
            pump(client, stream, way, lambda: self._generation != generation, visit.speaks)
            if self._generation == generation and not way.closed:
                visit.leaves()
        except RemoteRuntimeError as error:
            log.info("a connection could not be led to the machine: %s", error)
            refuse(client, error, http=self._http)
        except OSError as error:
            log.info("a connection ended: %s", error)
            reset(client)
        finally:
            client.close()
            self._threads.discard(threading.current_thread())

    def _wait_for_way(self) -> tuple[Way, Secret | None, int]:
        until = time.monotonic() + WAITING_S
        with self._changed:
            self._waiting += 1
            try:
                while self._way is None or self._way.closed:
                    left = until - time.monotonic()
                    if self._closing.is_set() or left <= 0 or self._waiting > MOST_WAITING:
                        raise ConnectionError("there is no way to the machine")
                    self._changed.wait(min(left, 1.0))
                return self._way, self._token, self._generation
            finally:
                self._waiting -= 1

    def _dial(self, way: Way, token: Secret | None) -> Stream:
        try:
            stream = way.dial()
            if token is not None:
                try:
                    prove(stream, token, Deadline(DIAL_S))
                except BaseException:
                    stream.close()
                    raise
        except RemoteRuntimeError as error:
            self.failure = error
            self.on_failure(error)
            raise
        return stream


def most_connections() -> int:
    """As many as this process may have files open for."""
    if sys.platform == "win32":
        return MOST_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(1, (soft - OTHER_FILES) // FILES_EACH))


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
