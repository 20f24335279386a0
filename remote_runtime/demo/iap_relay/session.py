"""One session of the relay: a TCP connection to the machine, and the counts that make it resumable."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque

from .protocol import ARRAY_LIMIT_BYTES, Refusal

STALL_BYTES = 1_500_000  # unacknowledged by the client; Google's relay stops about there
_READ_BYTES = 64 << 10
_QUEUED_BYTES = 1 << 20
_FREE_S = 5.0


class Session:
    """``received``: bytes of the client. ``ended``: a close code once the machine's connection is over.
    ``give_way``: its client's connection is to end; ``free``: it has none."""

    def __init__(self, sid: str, machine: socket.socket) -> None:
        machine.setblocking(False)
        self.sid = sid
        self.machine = machine
        self.received = 0
        self.ended: int | None = None
        self.left_at = time.monotonic()
        self.give_way = threading.Event()
        self.free = threading.Event()
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._sent = 0  # how many of the kept chunks went over the present connection
        self._confirmed = 0
        self._to_machine = bytearray()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._to_machine)

    @property
    def takes_more(self) -> bool:
        return len(self._to_machine) < _QUEUED_BYTES

    @property
    def wants_to_read(self) -> bool:
        return self.ended is None and self._kept_bytes < STALL_BYTES and self._sent == len(self._kept)

    @property
    def all_sent(self) -> bool:
        return self._sent == len(self._kept)

    def close(self) -> None:
        self.give_way.set()
        self.free.wait(_FREE_S)
        self.machine.close()

    def take(self, content: bytes) -> None:
        """From the client."""
        self.received += len(content)
        self._to_machine += content

    def next(self) -> bytes | None:
        """For the client."""
        if self._sent == len(self._kept):
            return None
        self._sent += 1
        return self._kept[self._sent - 1]

    def confirm(self, received: int) -> None:
        """Raises ``Refusal`` 4074 for a count that cannot be."""
        count = received - self._confirmed
        if count < 0 or count > self._kept_bytes:
            raise Refusal(4074, f"cannot rewind to {received}")
        self._confirmed = received
        self._kept_bytes -= count
        while count:
            chunk = self._kept.popleft()
            if len(chunk) > count:
                self._kept.appendleft(chunk[count:])
                break
            count -= len(chunk)
            self._sent = max(0, self._sent - 1)

    def resume(self, received: int) -> None:
        self.confirm(received)
        self._sent = 0

    def read_machine(self) -> None:
        try:
            content = self.machine.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            self.ended = self.ended or 4010
            return
        for at in range(0, len(content), ARRAY_LIMIT_BYTES):
            self._kept.append(content[at : at + ARRAY_LIMIT_BYTES])
        self._kept_bytes += len(content)

    def write_machine(self) -> None:
        try:
            while self._to_machine:
                with memoryview(self._to_machine) as view:
                    sent = self.machine.send(view)
                del self._to_machine[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._to_machine.clear()
            self.ended = self.ended or 4009
