"""The streams of one local port. They outlive the SSH connections that carry them."""

from __future__ import annotations

import datetime
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Literal

from ...bridge.streams.protocol.send_buffer import SpoolBudget
from ...bridge.streams.protocol.session import StreamSession
from ...bridge.streams.protocol.stream import ResumableStream
from ...core.deadline import Deadline, wait_until
from ...core.errors import RemoteRuntimeError
from ...core.metrics import StreamStatus
from ...core.model import Secret
from ..forwarder.client import Client
from ..forwarder.loop import Loop
from .carrier_channel import HandshakeError
from .client_socket import ClientSocket
from .handshake import Refused, SessionTicket, StreamsUnsupported
from .link import StreamLink, as_error

log = logging.getLogger(__name__)
_TICK_S = 0.1
_RELEASE_TIMEOUT_S = 5.0
_RESET_REASONS = {
    "unknown-session": "Jupyter was restarted, or the connection was away for too long",
    "wrong-secret": "another server answers",
}


class ClientStreams:
    """``connect`` and ``close`` are for the thread that owns it; the rest is for the thread of the loop of the current
    link. ``former_key``: the ``key`` of a process that was killed, whose session the first one here replaces."""

    def __init__(self, former_key: Secret | None = None) -> None:
        self._resets = (0, "", "")
        self._is_supported = False
        self._detached_at = ""
        self._link: StreamLink | None = None
        self._outcomes = queue.SimpleQueue[HandshakeError | None]()
        self._waiting: list[Client] = []
        self._timers: dict[object, tuple[float, Callable[[], None]]] = {}
        self._reset_session()
        replaced, _, secret = former_key.reveal().partition(":") if former_key is not None else ("", "", "")
        self._ticket: SessionTicket = SessionTicket("", Secret(""), 0, replaced, Secret(secret))

    def _reset_session(self) -> None:
        self.session = StreamSession(
            clock=time.monotonic,
            call_later=self._call_later,
            budget=SpoolBudget(),
            on_reset=self._on_reset,
            on_detached=self._on_detached,
        )
        self._ticket = SessionTicket("", Secret(""), 0)
        self._last_carrier = 0

    def status(self) -> StreamStatus | None:
        """None if no server has supported them yet. For any thread."""
        resets, detached_at, count = self._resets, self._detached_at, len(self.session.streams)
        if not self._is_supported:
            return None
        waiting = count if detached_at else 0
        return StreamStatus(waiting, detached_at if waiting else "", *resets)

    @property
    def key(self) -> Secret | None:
        """Of the session: a later process can end its streams with it."""
        ticket = self._ticket
        return Secret(f"{ticket.session}:{ticket.secret.reveal()}") if ticket.session else None

    def connect(self, link: StreamLink, deadline: Deadline) -> bool:
        """Carry the streams over ``link`` from now on. False if the server does not support it.

        Raises ``RemoteRuntimeError``: an unknown process responds, nothing responds, the SSH connection is lost.
        """
        self._release()
        outcomes = self._outcomes = queue.SimpleQueue()
        link.loop.add_pool(link)
        if not link.loop.call_soon(lambda: self._bind(link)):
            raise link.lost_error()

        def outcome() -> HandshakeError | Literal[True] | None:
            try:
                return outcomes.get(timeout=_TICK_S) or True
            except queue.Empty:
                if link.is_released:
                    raise link.lost_error() from None
                return None

        try:
            result = wait_until(outcome, deadline, every_s=0.0, what="joining the streams")
            if isinstance(result, StreamsUnsupported):
                log.info("the server does not support streams: %s", result)
                self.close("Jupyter was restarted without the bridge")
                self._is_supported = False
                return False
            if isinstance(result, (RemoteRuntimeError, Refused)):
                raise as_error(result)
        except BaseException:
            self._release()
            raise
        return True

    def close(self, why: str) -> None:
        """Reset all streams; the server forgets the session once its time is over."""
        link = self._link
        done = threading.Event()

        def close() -> None:
            self.session.close(why)
            self._reset_session()
            done.set()

        if link is not None and not link.is_released and link.loop.call_soon(close):
            done.wait(_RELEASE_TIMEOUT_S)
            self._release()
        else:
            close()

    # ── in the loop's thread

    def open(self, client: Client, link: StreamLink) -> None:
        """Serve a client whose request is complete; while there is no carrier it waits for one. ``link``: the one that
        accepted it."""
        if link is not self._link or link.is_released:
            client.return_with_error(link.lost_error())
        elif len(self.session.streams) >= link.loop.max_streams:
            client.handler.on_over_limit(files=False)
            client.reset()
        elif self.session.carriers:
            self._open(client)
        else:
            self._waiting.append(client)
            link.open_now()

    def on_outcome(self, error: HandshakeError | None) -> None:
        """A carrier has joined, or the first one could not."""
        self._outcomes.put(error)
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            if error is None:
                self._open(client)
            else:
                client.return_with_error(as_error(error))

    def next_ticket(self, *, is_first: bool) -> SessionTicket:
        """``is_first``: the carrier begins a generation, which ends what is left of the earlier ones."""
        if is_first:
            self._ticket = self._ticket._replace(generation=self._ticket.generation + 1)
        return self._ticket

    def next_carrier(self) -> int:
        self._last_carrier += 1
        return self._last_carrier

    def on_ticket(self, ticket: SessionTicket) -> None:
        self._ticket = ticket
        self._is_supported = True
        if self._detached_at and self.session.streams:
            log.info("%d connections continue", len(self.session.streams))
        self._detached_at = ""

    def on_session_lost(self, reason: str) -> None:
        """The server does not know the session any more."""
        self.session.reset_streams(_RESET_REASONS[reason])
        self._reset_session()

    def _open(self, client: Client) -> None:
        client.handler.on_opened()
        self.session.open_stream(ClientSocket(client, self._current_loop)).on_readable()

    def _bind(self, link: StreamLink) -> None:
        self._link = link
        now = time.monotonic()
        for key, (due, _) in list(self._timers.items()):
            self._start_timer(link.loop, key, due - now)
        for socket in self._sockets():
            socket.resume(link.loop)
        link.start(self)

    def _release(self) -> None:
        """Wait until no loop serves the streams."""
        link = self._link
        if link is None:
            return
        done = threading.Event()

        def release() -> None:
            self.release(link)
            done.set()

        if link.loop.call_soon(release):
            done.wait(_RELEASE_TIMEOUT_S)
        self._link = None

    def release(self, link: StreamLink) -> None:
        """The streams wait for another link. In the loop's thread."""
        if link.is_released:
            return
        for socket in self._sockets():
            socket.suspend(link.loop)
        self._link = None
        link.is_released = True
        self.session.detach("the SSH connection is lost")
        link.release()
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            client.return_with_error(link.lost_error())

    def _sockets(self) -> list[ClientSocket]:
        return [stream.local for stream in self.session.streams.values() if isinstance(stream.local, ClientSocket)]

    def _current_loop(self) -> Loop | None:
        return self._link.loop if self._link is not None else None

    def _call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """A timer that survives the loop."""
        key = object()
        self._timers[key] = time.monotonic() + delay_s, call
        loop = self._current_loop()
        if loop is not None:
            self._start_timer(loop, key, delay_s)

    def _start_timer(self, loop: Loop, key: object, delay_s: float) -> None:
        def fire() -> None:
            if self._current_loop() is loop and key in self._timers:
                self._timers.pop(key)[1]()

        loop.call_later(max(0.0, delay_s), fire)

    def _on_detached(self) -> None:
        self._detached_at = _now()
        log.info("%d connections wait", len(self.session.streams))

    def _on_reset(self, stream: ResumableStream, why: str) -> None:
        log.info("a connection was reset: %s", why)
        self._resets = self._resets[0] + 1, why, _now()


def _now() -> str:
    """ISO 8601, UTC, seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
