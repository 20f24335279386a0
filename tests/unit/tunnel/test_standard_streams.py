"""A socket on stdin and stdout."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from remote_runtime.tunnel.standard_streams import relay_standard_streams

SIZE = 3_000_000


@dataclass
class Relay:
    """``server``: the other end of the socket; ``stdin`` to write to, ``stdout`` to read from."""

    server: socket.socket
    stdin: int
    stdout: int
    thread: threading.Thread

    def end_stdin(self) -> None:
        os.close(self.stdin)
        self.stdin = -1


@pytest.fixture
def relay() -> Iterator[Relay]:
    ours, server = socket.socketpair()
    (stdin, to_stdin), (from_stdout, stdout) = os.pipe(), os.pipe()

    def run() -> None:
        relay_standard_streams(ours, stdin, stdout)
        ours.close()
        os.close(stdout)

    thread = threading.Thread(target=run)
    thread.start()
    relay = Relay(server, to_stdin, from_stdout, thread)
    yield relay
    server.close()
    for descriptor in (relay.stdin, from_stdout):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    for each in (thread, *(each for each in threading.enumerate() if each.name == "stdin")):
        each.join(10)
        assert not each.is_alive()
    os.close(stdin)


def read_all(descriptor: int) -> bytes:
    received = b""
    while part := os.read(descriptor, 1 << 16):
        received += part
    return received


def test_bytes_arrive_in_both_directions(relay: Relay) -> None:
    up, down = os.urandom(SIZE), os.urandom(SIZE)

    def serve() -> None:
        received = bytearray()
        while part := relay.server.recv(1 << 16):
            received += part
        assert received == up
        relay.server.sendall(down)
        relay.server.close()

    def write() -> None:
        rest = memoryview(up)
        while rest:
            rest = rest[os.write(relay.stdin, rest) :]
        relay.end_stdin()

    threads = [threading.Thread(target=target) for target in (serve, write)]
    for thread in threads:
        thread.start()
    assert read_all(relay.stdout) == down
    for thread in threads:
        thread.join(10)


def test_it_ends_with_the_server_while_stdin_is_open(relay: Relay) -> None:
    relay.server.sendall(b"bye")
    relay.server.close()
    relay.thread.join(10)
    assert not relay.thread.is_alive()
    assert read_all(relay.stdout) == b"bye"


def test_it_ends_when_nobody_reads_stdout(relay: Relay) -> None:
    os.close(relay.stdout)
    relay.server.sendall(b"to nobody")
    relay.thread.join(10)
    assert not relay.thread.is_alive()


def test_a_server_that_stays_does_not_hold_it_after_the_end_of_stdin(relay: Relay) -> None:
    relay.end_stdin()
    relay.thread.join(10)
    assert not relay.thread.is_alive()
