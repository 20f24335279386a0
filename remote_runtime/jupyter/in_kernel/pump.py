"""The thread that reads what other processes print, sends a program's items, and receives its client's messages."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from .items import STREAMS
from .run import Run

READ_BYTES = 64 << 10
MAX_DRAINED = 16  # reads of a pipe, so that a process that prints without end cannot hold a lock
BATCH_S = 0.005  # small writes become one item
LARGE_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031  # fcntl(2), Linux
POLL_S = 0.05  # ZeroMQ's descriptor reports less than each message
_SELECTOR: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Pump(threading.Thread):
    """Lives as long as the kernel. ``run``: the current program's. Processes that it has left behind may print later:
    their output goes where the kernel's own goes."""

    def __init__(self, kernel: Any) -> None:
        super().__init__(daemon=True, name="remote-runtime")
        self.changed = threading.Condition(threading.RLock())
        self.run_now: Run | None = None
        self.kernel = kernel
        self._wakes, self._wake = socket.socketpair()
        self._is_awake = False
        self._using = threading.Lock()  # of the socket, which is the kernel's own between two programs
        self._originals: dict[str, Any] = {}
        self._read_fds: dict[str, int] = {}
        self._write_fds: dict[str, int] = {}
        if sys.platform != "win32":
            for name in STREAMS:
                self._read_fds[name], self._write_fds[name] = os.pipe()
                os.set_blocking(self._read_fds[name], False)
                _enlarge(self._write_fds[name])

    @contextlib.contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """The output of this process, and of those that it starts, belongs to ``run``."""
        self._originals = {name: getattr(sys, name) for name in STREAMS}
        saved = {}
        for number, name in enumerate(STREAMS, 1):
            self._originals[name].flush()
            if name in self._write_fds:
                saved[number] = os.dup(number)
                os.dup2(self._write_fds[name], number)
        run.greet()
        with self.changed:
            self.run_now = run
        self.wake()
        try:
            yield
        finally:
            for number, copy in saved.items():
                os.dup2(copy, number)
                os.close(copy)
            with self._using, self.changed:
                self.run_now = None

    def write(self, name: str, content: bytes) -> None:
        """What this process prints."""
        run = self.run_now
        if run is not None:
            run.write(name, content)
        else:
            self._originals[name].write(content.decode("utf-8", "replace"))

    def wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._wake.send(b"\0")

    def drain(self) -> bool:
        """Take what other processes have printed until now; whether there was anything."""
        found = False
        for name, fd in self._read_fds.items():
            for _ in range(MAX_DRAINED):
                try:
                    content = os.read(fd, READ_BYTES)
                except BlockingIOError:
                    break
                found = True
                if self.run_now is None:
                    self._originals[name].write(content.decode("utf-8", "replace"))
                elif name not in self.run_now.queue.closed:
                    self.run_now.queue.append(name, content)
        return found

    def drain_all(self) -> None:
        """Also what is more than the client takes now."""
        with self.changed:
            while self.drain():
                while self.run_now is not None and self.run_now.queue.is_full():
                    self.changed.wait(0.5)

    def run(self) -> None:
        while True:
            self._wait(self.run_now)
            time.sleep(BATCH_S)
            if self._is_awake:
                self._is_awake = False
                self._wakes.recv(4096)
            with self._using:
                run = self.run_now
                with self.changed:
                    if run is None or not run.queue.is_full():
                        self.drain()
                if run is not None:
                    run.receive()
                    run.send_items()

    def _wait(self, run: Run | None) -> None:
        """Until there may be something to do."""
        with _SELECTOR() as selector:
            selector.register(self._wakes, selectors.EVENT_READ)
            if run is not None:
                selector.register(run.message_fd, selectors.EVENT_READ)
            if run is None or not run.queue.is_full():
                for fd in self._read_fds.values():
                    selector.register(fd, selectors.EVENT_READ)
            selector.select(POLL_S if run is not None else None)


def _enlarge(fd: int) -> None:
    """A pipe for programs that print much."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # above the user's limit
            fcntl.fcntl(fd, _F_SETPIPE_SZ, LARGE_PIPE_BYTES)
