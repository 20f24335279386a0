"""Calls from other threads, to be made in the loop's; a socket wakes it (Windows can wait for nothing else)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable

Call = Callable[[], None]


class CallQueue:
    """``add`` and ``wake`` are for any thread. ``bell`` is readable when there is something to do."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._lock = threading.Lock()
        self._is_stopped = False
        self._is_woken = False
        self.wakeup_socket, self._wakeup_send = socket.socketpair()
        for end in (self.wakeup_socket, self._wakeup_send):
            end.setblocking(False)

    def add(self, call: Call) -> bool:
        """False when there is no loop any more; ``call`` is not made then."""
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
            with contextlib.suppress(OSError):  # full: it will wake up; closed: it has ended
                self._wakeup_send.send(b"!")

    def drain(self) -> None:
        """The bell rang."""
        with contextlib.suppress(BlockingIOError):
            self.wakeup_socket.recv(4096)
        self._is_woken = False  # before the calls: whoever comes from now on presses again
        self.run()

    def run(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def stop(self) -> bool:
        """Take no more. False when that was so before; those that were taken can still be made."""
        with self._lock:
            was, self._is_stopped = self._is_stopped, True
            return not was

    def close(self) -> None:
        self.wakeup_socket.close()
        self._wakeup_send.close()
