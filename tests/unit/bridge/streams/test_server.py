"""When the server gives up a client, and what it keeps for one that may come back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application

from remote_runtime.bridge.streams.protocol import frames
from remote_runtime.bridge.streams.protocol.handshake import Hello
from remote_runtime.bridge.streams.protocol.send_buffer import SpoolBudget
from remote_runtime.bridge.streams.server import StreamServer, StreamTimeouts

HELLO = Hello("", 1, 1, "", "", "", "")
WAIT_S = 0.15


class Client:
    """Attached at once, with a carrier that only sends."""

    def __init__(self, **timeouts: float) -> None:
        http_server = HTTPServer(Application())
        limits = StreamTimeouts(**{"silence_s": 60.0, "detached_s": 60.0, **timeouts})
        self.server = StreamServer(lambda: http_server, lambda: "", SpoolBudget(), limits, lambda: None)
        self.session_id, _ = self.server.join(HELLO)
        (self.session,) = self.server.sessions
        self.attach()

    def attach(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.server.attach(self.session_id, theirs, 1)

    async def open_streams(self, count: int) -> None:
        for number in range(1, count + 1):
            self.sock.sendall(frames.frame(frames.DATA, number, 0, b"GET /"))
        await until(lambda: len(self.session.streams) == count)

    async def leave(self) -> None:
        self.sock.close()
        await until(lambda: not self.session.carriers)

    def close(self) -> None:
        self.session.close("the test is over")
        self.sock.close()


async def until(is_true: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not is_true():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 10)


async def silence_ends_the_carriers() -> None:
    client = Client(silence_s=WAIT_S)
    await client.open_streams(2)
    await until(lambda: not client.session.carriers)
    assert len(client.session.streams) == 2
    client.close()


async def pings_keep_the_carriers() -> None:
    client = Client(silence_s=2 * WAIT_S)
    for _ in range(8):
        await asyncio.sleep(WAIT_S / 2)
        client.sock.sendall(frames.frame(frames.PING))
    assert client.session.carriers
    client.close()


async def a_client_that_was_away_for_too_long_is_forgotten() -> None:
    client = Client(detached_s=WAIT_S)
    await client.open_streams(2)
    await client.leave()
    assert client.server.detached_count() == 2
    await until(lambda: not client.session.streams)
    assert not client.server.sessions


async def a_client_that_comes_back_keeps_all() -> None:
    client = Client(detached_s=2 * WAIT_S)
    await client.open_streams(1)
    for _ in range(3):
        await client.leave()
        await asyncio.sleep(WAIT_S)
        client.attach()
    await asyncio.sleep(2 * WAIT_S)
    assert list(client.session.streams) == [1]
    assert len(client.server._timers) == 1
    client.close()


@pytest.mark.parametrize(
    "case",
    [
        silence_ends_the_carriers,
        pings_keep_the_carriers,
        a_client_that_was_away_for_too_long_is_forgotten,
        a_client_that_comes_back_keeps_all,
    ],
    ids=lambda case: case.__name__.replace("_", " "),
)
def test_a_client_is_given_up_when_its_time_is_over(case: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await case()

    asyncio.run(run())
