"""One question to an HTTP server of this machine. In HTTP/1.0 (RFC 1945) its answer comes in one piece and ends the
connection; importing http.client would take as long as all the rest of a look at a healthy server.
"""

from __future__ import annotations

import socket
import sys
import time

MAX_HEAD_BYTES = 65536


class NotHttp(ValueError):
    """What came is no answer of an HTTP server, or not all of it."""


def request(
    address: int | str,
    path: str,
    *,
    within_s: float,
    max_bytes: int,
    token: str = "",
    method: str = "GET",
    body_to_send: bytes = b"",
) -> tuple[int, bytes]:
    """The status and at most ``limit`` bytes of the body. ``place``: a port of 127.0.0.1, or the path of a unix socket.

    Raises ``OSError`` (``TimeoutError`` after ``within_s`` at the latest) and ``NotHttp``."""
    lines = [f"{method} {path} HTTP/1.0", "Host: 127.0.0.1", f"Content-Length: {len(body_to_send)}"]
    lines += [f"Authorization: token {token}"] if token else []
    until = time.monotonic() + within_s
    with _connect(address, within_s) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body_to_send)
        head, body = _read_head(connection, until)
        status, length = _parse_head(head)
        while length is None or len(body) < min(length, max_bytes):
            part = _receive(connection, until)
            if not part and length is not None:
                raise NotHttp("the answer is cut short")
            body += part
            if not part or len(body) > max_bytes:
                break
    return status, bytes(body[:max_bytes])


def _connect(address: int | str, within_s: float) -> socket.socket:
    if isinstance(address, int) or sys.platform == "win32":
        return socket.create_connection(("127.0.0.1", int(address)), within_s)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(within_s)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_head(connection: socket.socket, until: float) -> tuple[list[str], bytearray]:
    """The lines before the body, and what has come of the body."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        part = _receive(connection, until)
        received += part
        if not part or len(received) > MAX_HEAD_BYTES:
            raise NotHttp("the answer has no head")
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), body


def _parse_head(head: list[str]) -> tuple[int, int | None]:
    """The status, and the length of the body if it is told."""
    version, _, status = head[0].partition(" ")
    if not version.startswith("HTTP/") or not status[:3].isdigit():
        raise NotHttp("the answer does not begin as HTTP does")
    fields = dict(line.lower().split(":", 1) for line in head[1:] if ":" in line)
    length = fields.get("content-length", "").strip()
    return int(status[:3]), int(length) if length.isdigit() else None


def _receive(connection: socket.socket, until: float) -> bytes:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no answer in time")
    connection.settimeout(left_s)
    return connection.recv(65536)
