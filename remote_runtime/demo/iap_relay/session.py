"""One session of the relay: a TCP connection to the backend, and the byte counts for resuming it."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque

from .protocol import MAX_ARRAY_BYTES, RelayRefusal

MAX_UNACKNOWLEDGED_BYTES = 1_500_000  # Google's relay stops sending at about this many
_READ_BYTES = 64 << 10
_MAX_QUEUED_BYTES = 1 << 20
_DETACH_TIMEOUT_S = 5.0


class RelaySession:
    """``received``: bytes of the client. ``close_code``: set once the backend's connection has ended.
    ``detach_requested``: the client's connection is to end; ``detached``: there is none."""

    def __init__(self, sid: str, machine: socket.socket) -> None:
        machine.setblocking(False)
        self.sid = sid
        self.backend = machine
        self.received = 0
        self.close_code: int | None = None
        self.detached_at = time.monotonic()
        self.detach_requested = threading.Event()
        self.detached = threading.Event()
        self._unacknowledged: deque[bytes] = deque()
        self._unacknowledged_bytes = 0
        self._sent_chunks = 0  # how many unacknowledged chunks were sent over this connection
        self._acknowledged = 0
        self._to_backend = bytearray()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._to_backend)

    @property
    def accepts_input(self) -> bool:
        return len(self._to_backend) < _MAX_QUEUED_BYTES

    @property
    def wants_to_read(self) -> bool:
        return (
            self.close_code is None
            and self._unacknowledged_bytes < MAX_UNACKNOWLEDGED_BYTES
            and self._sent_chunks == len(self._unacknowledged)
        )

    @property
    def all_sent(self) -> bool:
        return self._sent_chunks == len(self._unacknowledged)

    def close(self) -> None:
        self.detach_requested.set()
        self.detached.wait(_DETACH_TIMEOUT_S)
        self.backend.close()

    def add_input(self, content: bytes) -> None:
        """Bytes from the client."""
        self.received += len(content)
        self._to_backend += content

    def next_chunk(self) -> bytes | None:
        """The next bytes for the client."""
        if self._sent_chunks == len(self._unacknowledged):
            return None
        self._sent_chunks += 1
        return self._unacknowledged[self._sent_chunks - 1]

    def acknowledge(self, received: int) -> None:
        """Raises ``RelayRefusal`` 4074 for an impossible count."""
        count = received - self._acknowledged
        if count < 0 or count > self._unacknowledged_bytes:
            raise RelayRefusal(4074, f"cannot rewind to {received}")
        self._acknowledged = received
        self._unacknowledged_bytes -= count
        while count:
            chunk = self._unacknowledged.popleft()
            if len(chunk) > count:
                self._unacknowledged.appendleft(chunk[count:])
                break
            count -= len(chunk)
            self._sent_chunks = max(0, self._sent_chunks - 1)

    def resume(self, received: int) -> None:
        self.acknowledge(received)
        self._sent_chunks = 0

    def read_backend(self) -> None:
        try:
            content = self.backend.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            self.close_code = self.close_code or 4010
            return
        for at in range(0, len(content), MAX_ARRAY_BYTES):
            self._unacknowledged.append(content[at : at + MAX_ARRAY_BYTES])
        self._unacknowledged_bytes += len(content)

    def write_backend(self) -> None:
        try:
            while self._to_backend:
                with memoryview(self._to_backend) as view:
                    sent = self.backend.send(view)
                del self._to_backend[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._to_backend.clear()
            self.close_code = self.close_code or 4009
