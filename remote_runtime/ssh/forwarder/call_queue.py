"""Calls from other threads, to be made in the loop's; a socket wakes it (Windows can wait for nothing else)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable

Call = Callable[[], None]


class Calls:
    """``add`` and ``wake`` are for any thread. ``bell`` is readable when there is something to do."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._lock = threading.Lock()
        self._ended = False
        self._pressed = False
        self.bell, self._button = socket.socketpair()
        for end in (self.bell, self._button):
            end.setblocking(False)

    def add(self, call: Call) -> bool:
        """False when there is no loop any more; ``call`` is not made then."""
        with self._lock:
            if self._ended:
                return False
            self._calls.append(call)
        self.wake()
        return True

    def __len__(self) -> int:
        return len(self._calls)

    def wake(self) -> None:
        if not self._pressed:
            self._pressed = True
            with contextlib.suppress(OSError):  # full: it will wake up; closed: it has ended
                self._button.send(b"!")

    def answer(self) -> None:
        """The bell rang."""
        with contextlib.suppress(BlockingIOError):
            self.bell.recv(4096)
        self._pressed = False  # before the calls: whoever comes from now on presses again
        self.make()

    def make(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def end(self) -> bool:
        """Take no more. False when that was so before; those that were taken can still be made."""
        with self._lock:
            was, self._ended = self._ended, True
            return not was

    def close(self) -> None:
        self.bell.close()
        self._button.close()
