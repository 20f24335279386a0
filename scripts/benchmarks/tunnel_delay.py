"""A link with delay and a limited rate, for one TCP port: ``python -m … PORT ONE_WAY_MS MEGABYTES_A_SECOND``.

The first line on stdout is the port to use. What arrives waits its time in order, and leaves no faster than the rate;
a queue of at most 64 MB stands for the link's buffers, so a sender that fills them makes everybody wait.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import deque

QUEUE_BYTES = 64 << 20
PIECE_BYTES = 64 << 10
BUFFER_BYTES = 4 << 20


def main() -> None:
    port, delay_s, rate = int(sys.argv[1]), float(sys.argv[2]) / 1000, float(sys.argv[3]) * 1e6
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for source, target in ((near, far), (far, near)):
            for end in (source, target):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Direction(source, target, delay_s, rate)


class Direction:
    """Two threads: one that takes, one that gives when its time has come."""

    def __init__(self, source: socket.socket, target: socket.socket, delay_s: float, rate: float) -> None:
        self._source, self._target, self._delay_s, self._rate = source, target, delay_s, rate
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        for work in (self._take, self._give):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        free_at = 0.0
        while True:
            try:
                data = self._source.recv(PIECE_BYTES)
            except OSError:
                data = b""
            now = time.monotonic()
            free_at = max(free_at, now) + len(data) / self._rate
            with self._changed:
                self._changed.wait_for(lambda: self._queued < QUEUE_BYTES)
                self._queue.append((free_at + self._delay_s, data))
                self._queued += len(data)
                self._changed.notify_all()
            if not data:
                return

    def _give(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                due, data = self._queue.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    self._target.shutdown(socket.SHUT_WR)
                    return
                self._target.sendall(data)
            except OSError:
                self._source.close()
                return
            with self._changed:
                self._queued -= len(data)
                self._changed.notify_all()


if __name__ == "__main__":
    main()
