"""Accepts the connections to a local port in a thread, while no forwarder does that."""

from __future__ import annotations

import contextlib
import errno
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterable

from .connection_stats import Address
from .rate_limited_log import RateLimitedLog

RETRY_S = 0.2


class Acceptor:
    """Calls ``on_accept`` with each connection, in a thread that runs while the object lives. It accepts as long as
    ``is_needed()``, which it checks again after each ``wake``. ``on_end``: called as the last."""

    def __init__(
        self,
        listeners: Iterable[socket.socket],
        *,
        is_needed: Callable[[], bool],
        on_accept: Callable[[socket.socket, Address], None],
        on_end: Callable[[], None],
        log: RateLimitedLog,
        name: str,
    ) -> None:
        self._is_needed = is_needed
        self._on_accept = on_accept
        self._on_end = on_end
        self._log = log
        self._closing = threading.Event()
        # Files are opened here, so that the caller gets the error if that fails.
        self._wakeup, self._wakeup_sender = socket.socketpair()
        self._wakeup_sender.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        for listener in listeners:
            self.watch(listener)
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def watch(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self.wake()

    def wake(self) -> None:
        """For any thread."""
        with contextlib.suppress(OSError):  # full: it wakes up anyway; closed: it has ended
            self._wakeup_sender.send(b"\0")

    def close(self) -> None:
        self._closing.set()
        self.wake()
        self._thread.join(5)
        self._wakeup.close()
        self._wakeup_sender.close()

    def _run(self) -> None:
        try:
            self._accept_all()
        finally:
            self._on_end()

    def _accept_all(self) -> None:
        with self._selector as selector:
            while not self._closing.is_set():
                if not self._is_needed():
                    self._wakeup.recv(4096)
                    continue
                for key, _ in selector.select():
                    if key.fileobj is self._wakeup:
                        self._wakeup.recv(4096)
                    else:
                        self._accept(key.fileobj)  # type: ignore[arg-type]  # registered above: sockets

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, came_from = listener.accept()
        except OSError as error:
            # A forwarder may have been quicker, or the client has left between select and accept.
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._log("a connection must wait", error, level=logging.WARNING)
                self._closing.wait(RETRY_S)
        else:
            self._on_accept(client, came_from[:2])
