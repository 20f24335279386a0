"""paramiko's packet layer with bounds: a write that gets nowhere ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paramiko
from paramiko.packet import Packetizer

from ...core.deadline import Deadline

_DEFAULT_WRITE_TIMEOUT_S = 30.0


class WriteDeadline:
    """How long the writes of the current thread may get nowhere: until its deadline, else half a minute."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def until(self, deadline: Deadline) -> Iterator[None]:
        before = getattr(self._local, "deadline", None)
        self._local.deadline = deadline
        try:
            yield
        finally:
            self._local.deadline = before

    def deadline(self) -> Deadline:
        current: Deadline | None = getattr(self._local, "deadline", None)
        return current or Deadline(_DEFAULT_WRITE_TIMEOUT_S)


class BoundedPacketizer(Packetizer):
    """``heard_at``: when the last whole packet came (monotonic clock). ``stalled`` is called when a write got nowhere
    until the thread's deadline: half a packet may be on the wire, so the connection cannot be used any more."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.last_received_at = time.monotonic()
        self.write_deadline = WriteDeadline()
        self.on_write_stall: Callable[[], None] = self.close
        self._sock = sock

    def write_all(self, out: Any) -> None:
        deadline = None
        while out:
            try:
                sent = self._sock.send(out)
            except TimeoutError:
                if self.closed:
                    raise EOFError from None
                deadline = deadline or self.write_deadline.deadline()
                if deadline.passed() or deadline.cancelled.is_set():
                    self.on_write_stall()
                    raise EOFError from None
                continue
            except OSError as error:
                if bytes(out[:4]) == b"SSH-":
                    return  # our version: who has hung up before it may have said why, which is still to be read
                raise EOFError from error
            if sent <= 0:
                raise EOFError
            out = out[sent:]

    def read_message(self) -> tuple[int, paramiko.Message]:
        answer = super().read_message()
        self.last_received_at = time.monotonic()
        return answer
