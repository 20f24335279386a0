"""What the launcher hears from a port of its machine, whoever listens there."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from remote_runtime.jupyter.remote.server_client import MAX_HEAD_BYTES, NotHttp, request


@contextlib.contextmanager
def listener(*parts: bytes, hangs: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """The port of a server that says ``parts``, and what it heard; ``hangs``: it does not close its connection then."""
    heard: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                heard.append(connection.recv(65536))
                for part in parts:
                    connection.sendall(part)
                if hangs:
                    done.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(server.getsockname()[1]), heard
        finally:
            done.set()
            thread.join(30)


@pytest.mark.parametrize(
    ("parts", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"], b"{}"),
        ([b"HTTP/1.0 200 OK\r\n", b"\r\n", b"{", b"}"], b"{}"),
        ([b"HTTP/1.1 200\r\ncontent-length: 3\r\n\r\nabcdef"], b"abcdef"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000], b"x" * 100),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000], b"x" * 100),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], b""),
    ],
)
def test_an_answer_is_read_up_to_the_limit(parts: list[bytes], body: bytes) -> None:
    with listener(*parts) as (port, _):
        assert request(port, "/api", within_s=20, max_bytes=100) == (200, body)


def test_an_answer_of_a_known_length_does_not_wait_for_the_end_of_the_connection() -> None:
    with listener(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", hangs=True) as (port, _):
        assert request(port, "/api", within_s=20, max_bytes=100) == (403, b"no")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_no_answer_is_refused(said: bytes) -> None:
    with listener(said) as (port, _), pytest.raises(NotHttp):
        request(port, "/api", within_s=20, max_bytes=100)


def test_an_answer_that_does_not_go_on_is_not_waited_for() -> None:
    began = time.monotonic()
    with listener(b"HTTP/1.1 200 OK\r\n", hangs=True) as (port, _), pytest.raises(TimeoutError):
        request(port, "/api", within_s=0.2, max_bytes=100)
    assert time.monotonic() - began >= 0.2


def test_nobody_there_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        request(port, "/api", within_s=1, max_bytes=100)


def test_the_token_is_sent_only_when_it_is_given() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    with listener(answer) as (port, heard):
        request(port, "/api", within_s=20, max_bytes=100)
    assert heard == [b"GET /api HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"]
    with listener(answer) as (port, heard):
        request(port, "/api", within_s=20, max_bytes=100, token="abc", method="POST")
    assert heard[0].startswith(b"POST ")
    assert b"\r\nAuthorization: token abc\r\n" in heard[0]
