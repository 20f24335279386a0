"""Calls that other threads queue for the loop's thread. A socket pair wakes it: Windows selects nothing but sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable

Call = Callable[[], None]


class CallQueue:
    """``add`` and ``wake`` are for any thread. ``wakeup_socket`` is readable while calls are queued."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._lock = threading.Lock()
        self._is_stopped = False
        self._is_woken = False
        self.wakeup_socket, self._wakeup_send = socket.socketpair()
        for end in (self.wakeup_socket, self._wakeup_send):
            end.setblocking(False)

    def add(self, call: Call) -> bool:
        """Returns False if the queue was stopped; ``call`` is not made then."""
        with self._lock:
            if self._is_stopped:
                return False
            self._calls.append(call)
        self.wake()
        return True

    def __len__(self) -> int:
        return len(self._calls)

    def wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(OSError):  # full: the loop wakes up anyway; closed: the loop has ended
                self._wakeup_send.send(b"!")

    def drain(self) -> None:
        """Make the queued calls; to be called when ``wakeup_socket`` is readable."""
        with contextlib.suppress(BlockingIOError):
            self.wakeup_socket.recv(4096)
        self._is_woken = False  # before the calls: one that is added meanwhile wakes the loop again
        self.run()

    def run(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def stop(self) -> bool:
        """Refuse further calls; queued ones can still be made. Returns False if the queue was stopped before."""
        with self._lock:
            was, self._is_stopped = self._is_stopped, True
            return not was

    def close(self) -> None:
        self.wakeup_socket.close()
        self._wakeup_send.close()
