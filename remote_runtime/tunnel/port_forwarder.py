"""The local end of the tunnel: one port on both loopback addresses, led to the machine connection by connection.

The port is bound once and stays bound. While there is no way to the machine, new connections wait, bounded in
number and time; those under way are reset.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable

from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError
from ..core.model import Secret
from . import ports
from .connection_handler import CROWDED, NO_FILES, LaneGuest
from .connection_stats import Address, Visit, Visitors
from .identity import Proof, Stream, prove
from .open_files import is_among_the_last, most_files
from .rate_limited_log import Seldom
from .relay import Lane, Way, pump, refuse, reset, without_delay
from .silent_connections import MOST_SILENT, Silent

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
        self.visitors = Visitors(self.port, http=http)
        self._http = http
        self._listeners = listeners
        self._way: Way | None = None
        self._token: Secret | None = None
        self._at = ""
        self._lane: Lane | None = None
        self._resting: list[Lane] = []
        self._seldom = Seldom(log)
        self._changed = threading.Condition()
        self._generation = 0
        self._waiting = 0
        self._closing = threading.Event()
        self._most = most_connections()
        self._silent = Silent(min(MOST_SILENT, self._most // 2), self._closing.is_set)
        self._threads: set[threading.Thread] = set()
        self.taken = ""
        self._selector = selectors.DefaultSelector()  # here, where a process without a free descriptor is told so
        for listener in listeners:
            self._watch(listener)
        self._acceptor = threading.Thread(target=self._accept, daemon=True, name=f"front-{self.port}")
        self._acceptor.start()

    def _watch(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def complete(self) -> None:
        """Listen on [::1] too, once this computer has it: browsers try it first. ``taken``: who was quicker there."""
        if any(listener.family == socket.AF_INET6 for listener in self._listeners):
            return
        try:
            listener = ports.bind_ipv6(self.port)
        except LocalError as error:
            self.taken = error.why
            return
        self.taken = ""
        if listener is None:
            return
        self._watch(listener)
        with self._changed:
            self._listeners.append(listener)
            lane = self._lane
        if lane is not None:
            self._serve_from([listener], lane)

    def _serve_from(self, listeners: list[socket.socket], lane: Lane) -> None:
        lane.serve(listeners, lambda came_from: LaneGuest(self, self.visitors.visit(came_from)))

    def through(self, way: Way, token: Secret | None, at: str = "") -> None:
        """Lead connections this way from now on, those that wait first. ``token``, ``at``: what the other end must
        prove (``Proof``). Raises ``RemoteRuntimeError``."""
        asked_before = self._way is way and (self._token, self._at) == (token, at)
        same = asked_before and self._lane is not None and not self._lane.closed
        lane = self._lane if same else way.lane((lambda: Proof(token, at)) if token is not None else None)
        with self._changed:
            before, self._lane = self._lane, lane
            self._way, self._token, self._at, self.failure = way, token, at, None
            self._changed.notify_all()
        if before is not None and before is not lane:
            before.close()
        if lane is not None and lane is not before:
            self._serve_from(self._listeners, lane)

    def hold(self) -> None:
        """There is no way now: reset what is under way, let new connections wait."""
        with self._changed:
            lanes, self._way, self._lane, self._resting = [*self._resting, self._lane], None, None, []
            self._generation += 1
            self._changed.notify_all()
        for lane in lanes:
            if lane is not None:
                lane.close()

    def pause(self) -> None:
        """Let new connections wait; those under way stay as they are."""
        with self._changed:
            lane, self._way, self._lane = self._lane, None, None
            if lane is not None:
                self._resting.append(lane)
            self._changed.notify_all()
        if lane is not None:
            lane.rest()

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
        with self._selector as selector:
            while not self._closing.is_set():
                if self._is_served():
                    continue
                for key, _ in selector.select(0.2):
                    try:
                        client, came_from = key.fileobj.accept()  # type: ignore[union-attr]  # registered above: sockets
                    except OSError as error:
                        # A lane may have been quicker, or the client has left between select and accept.
                        if error.errno in (errno.EMFILE, errno.ENFILE):
                            self._seldom("a connection must wait", error, level=logging.WARNING)
                            self._closing.wait(NO_FILES_S)
                    else:
                        self._start(client, came_from[:2])

    def _is_served(self) -> bool:
        """Whether a lane accepts; a while later."""
        with self._changed:
            if self._lane is None or self._lane.closed or self._closing.is_set():
                return False
            self._changed.wait(0.2)
            return True

    def _start(self, client: socket.socket, came_from: Address) -> None:
        client.setblocking(False)
        without_delay(client)
        visit = self.visitors.visit(came_from)
        if is_among_the_last(client.fileno()) and not visit.is_ours:
            self._send_away(client, visit, NO_FILES, files=True)
        else:
            self._in_thread(client, visit, lambda: self._attend(client, visit))

    def _in_thread(self, client: socket.socket, visit: Visit, work: Callable[[], None]) -> None:
        """Where there is no room for another thread, the client is sent away."""

        def run() -> None:
            try:
                work()
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True, name=f"front-{self.port}-conn")
        crowded = len(self._threads) >= self._most and not visit.is_ours
        self._threads.add(thread)
        try:
            if crowded:
                raise RuntimeError(f"{self._most} connections are served")
            thread.start()
        except RuntimeError as error:  # or the computer starts no more threads
            self._threads.discard(thread)
            self._send_away(client, visit, error, files=self._most < MOST_CONNECTIONS)

    def _send_away(self, client: socket.socket, visit: Visit, why: object, *, files: bool) -> None:
        self.crowded_out(visit, why, files=files)
        reset(client)
        visit.end()

    def crowded_out(self, visit: Visit, why: object, *, files: bool) -> None:
        """It is sent away."""
        visit.is_sent_away(files=files)
        self._seldom("a connection is sent away", why, level=logging.WARNING)

    def _attend(self, client: socket.socket, visit: Visit) -> None:
        """Serve it; one to Jupyter when it speaks."""
        oldest = self._silent.enter(client, visit)
        if oldest is not None:
            self.crowded_out(oldest, CROWDED, files=False)
        said = self._silent.first_words(client) if self._token is not None else b""
        if self._token is None or (said and visit.begins(said[:1])):
            self._serve(client, visit)
            return
        visit.leaves()
        client.close()
        visit.end()

    def _serve(self, client: socket.socket, visit: Visit) -> None:
        try:
            way, token, lane, generation = self._wait_for_way(WAITING_S if visit.waits else 0.0)
            if lane is not None:
                lane.carry(client, LaneGuest(self, visit))
                return
            stream = self._dial(way, token)
            pump(client, stream, way, lambda: self._generation != generation, visit)
            if self._generation == generation and not way.closed:
                visit.leaves()
        except RemoteRuntimeError as error:
            self.fail(error)
            refuse(client, error, http=self._http)
        except OSError as error:
            self._seldom("a connection ended", error)
            reset(client)
        client.close()
        visit.end()

    def fail(self, error: RemoteRuntimeError) -> None:
        self._seldom("a connection could not be led to the machine", error)
        self.failure = error
        self.on_failure(error)

    def is_leading(self) -> bool:
        return self._way is not None and not self._way.closed

    def give_back(self, client: socket.socket, visit: Visit, error: RemoteRuntimeError, *, heard: bool) -> None:
        """A lane did not serve it: it is told why, or waits if it was the link that was lost."""

        def tell() -> None:
            refuse(client, error, http=self._http)
            client.close()
            visit.end()

        if self.is_leading():
            self.fail(error)
        if heard or self.is_leading():
            self._in_thread(client, visit, tell)
        else:
            self._in_thread(client, visit, lambda: self._serve(client, visit))

    def _wait_for_way(self, within_s: float) -> tuple[Way, Secret | None, Lane | None, int]:
        until = time.monotonic() + within_s
        with self._changed:
            self._waiting += 1
            try:
                while self._way is None or self._way.closed:
                    left = until - time.monotonic()
                    if self._closing.is_set() or left <= 0 or self._waiting > MOST_WAITING:
                        raise ConnectionError("there is no way to the machine")
                    self._changed.wait(min(left, 1.0))
                return self._way, self._token, self._lane, self._generation
            finally:
                self._waiting -= 1

    def _dial(self, way: Way, token: Secret | None) -> Stream:
        stream = way.dial()
        if token is not None:
            try:
                prove(stream, token, Deadline(DIAL_S), self._at)
            except BaseException:
                stream.close()
                raise
        return stream


def most_connections() -> int:
    """As many as this process may have files open for."""
    most = most_files()
    if most is None:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(1, (most - min(OTHER_FILES, most // 2)) // FILES_EACH))
