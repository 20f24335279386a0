"""What a notebook's user asks of a tunnel: one stream, many short connections, a keystroke beside a download."""

from __future__ import annotations

import contextlib
import selectors
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
BUFFER_BYTES = 1 << 20


def download_mb_s(port: int, size: int) -> float:
    with _connected(port) as connection:
        start = time.monotonic()
        connection.sendall(struct.pack(">Q", size))
        _read(connection, size)
        return size / 1e6 / (time.monotonic() - start)


def upload_mb_s(port: int, size: int) -> float:
    piece = bytes(BUFFER_BYTES)
    with _connected(port) as connection:
        start = time.monotonic()
        connection.sendall(struct.pack(">Q", size))
        for _ in range(size // len(piece)):
            connection.sendall(piece)
        _read(connection, 1)
        return size / 1e6 / (time.monotonic() - start)


def gets_ms(port: int, count: int) -> list[float]:
    """The times of ``count`` requests, each on a new connection, one after the other."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        with _connected(port) as connection:
            connection.sendall(REQUEST)
            while connection.recv(1 << 16):
                pass
        times.append(1000 * (time.perf_counter() - start))
    return times


def gets_a_second(port: int, at_once: int, within_s: float) -> float:
    """Requests answered, each on a new connection, so many under way at any time."""
    done = 0
    start = time.monotonic()
    with selectors.DefaultSelector() as selector:

        def begin() -> None:
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            selector.register(connection, selectors.EVENT_WRITE)

        for _ in range(at_once):
            begin()
        while time.monotonic() - start < within_s:
            for key, events in selector.select(1.0):
                connection = key.fileobj
                if not isinstance(connection, socket.socket):
                    raise TypeError(key)
                if events & selectors.EVENT_WRITE:
                    connection.send(REQUEST)
                    selector.modify(connection, selectors.EVENT_READ)
                elif not connection.recv(1 << 16):
                    selector.unregister(connection)
                    connection.close()
                    done += 1
                    begin()
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # only sockets are registered
    return done / (time.monotonic() - start)


def echoes_ms(port: int, count: int) -> list[float]:
    """Round trips of 100 bytes on one connection."""
    times = []
    with _connected(port) as connection:
        for number in range(count + 1):
            start = time.perf_counter()
            connection.sendall(bytes(100))
            _read(connection, 100)
            if number:
                times.append(1000 * (time.perf_counter() - start))
    return times


def echoes_beside_a_download(echo: int, pour: int, *, count: int, warm_up_s: float) -> tuple[list[float], float]:
    """The round trips while another connection downloads at full speed, and that one's MB/s meanwhile."""
    with downloading(pour) as progress:
        time.sleep(warm_up_s)
        before, start = progress[0], time.monotonic()
        times = echoes_ms(echo, count)
        return times, (progress[0] - before) / 1e6 / (time.monotonic() - start)


@contextlib.contextmanager
def downloading(port: int) -> Iterator[list[int]]:
    """How many bytes have come, in a list of one."""
    progress = [0]
    connection = _connected(port)
    connection.sendall(struct.pack(">Q", 1 << 50))

    def read() -> None:
        buffer = bytearray(BUFFER_BYTES)
        with contextlib.suppress(OSError):
            while count := connection.recv_into(buffer):
                progress[0] += count

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield progress
    finally:
        connection.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        connection.close()


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read(connection: socket.socket, size: int) -> None:
    buffer = bytearray(BUFFER_BYTES)
    while size:
        count = connection.recv_into(buffer, min(size, BUFFER_BYTES))
        if not count:
            raise EOFError(f"{size} bytes are missing")
        size -= count
