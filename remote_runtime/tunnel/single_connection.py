"""One connection to the machine for a socket of this computer, without a local port."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from typing import Literal, Protocol

from ..core.deadline import Deadline, wait_until
from ..core.errors import RemoteRuntimeError
from .connection_stats import ConnectionStats
from .identity import Stream
from .protocols import ConnectionHandler, Forwarder
from .relay import relay

_TICK_S = 0.1


class ForwardSocket(Protocol):
    """``TargetSession.forward_socket``."""

    def __call__(self, sock: socket.socket, host: str, port: int, *, within_s: float) -> None: ...


def open_socket(forward_socket: ForwardSocket, host: str, port: int, *, within_s: float) -> socket.socket:
    """A blocking socket that is connected to ``host``:``port`` of the machine; with port 0, to the unix socket whose
    path is ``host``. Raises as ``forward_socket``."""
    ours, theirs = socket.socketpair()
    try:
        forward_socket(theirs, host, port, within_s=within_s)
    except BaseException:
        ours.close()
        raise
    return ours


def forward_over(forwarder: Forwarder, sock: socket.socket, deadline: Deadline, what: str) -> None:
    """Forward ``sock``, which is closed if that fails, and return when it has its channel. Raises the refusal, or
    ``DeadlinePassed`` that names ``what``."""
    sock.setblocking(False)
    handler = _OpenHandler()
    forwarder.forward(sock, handler)
    refusal = wait_until(handler.result, deadline, every_s=0.0, what=what)
    if isinstance(refusal, RemoteRuntimeError):
        raise refusal


def relay_in_background(sock: socket.socket, stream: Stream, is_lost: Callable[[], bool]) -> None:
    """Copy bytes between ``sock`` and ``stream`` in a thread until both directions have ended, or ``is_lost``."""
    sock.setblocking(False)
    record = ConnectionStats(0, http=False).open_record(("", 0))

    def copy() -> None:
        with sock:
            relay(sock, stream, _Link(is_lost), is_lost, record)

    threading.Thread(target=copy, daemon=True, name="socket-relay").start()


class _Link:
    """The ``Upstream`` of one stream that is open already."""

    def __init__(self, is_lost: Callable[[], bool]) -> None:
        self._is_lost = is_lost

    @property
    def closed(self) -> bool:
        return self._is_lost()

    def dial(self) -> Stream:
        raise ValueError("its only connection is open")

    def open_forwarder(self, identity: object) -> None:
        """None: it has one connection."""


class _OpenHandler(ConnectionHandler):
    """Waits for the channel of one connection."""

    def __init__(self) -> None:
        self._results: queue.SimpleQueue[RemoteRuntimeError | Literal[True]] = queue.SimpleQueue()

    def result(self) -> RemoteRuntimeError | Literal[True] | None:
        try:
            return self._results.get(timeout=_TICK_S)
        except queue.Empty:
            return None

    def on_opened(self) -> None:
        self._results.put(True)

    def on_refused(self, sock: socket.socket, error: RemoteRuntimeError) -> None:
        sock.close()
        self._results.put(error)
