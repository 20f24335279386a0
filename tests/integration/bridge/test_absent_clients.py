"""A client whose carriers are lost: its WebSockets wait for it, and it does not count as there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.clients.bridge_client import http_request, odd_server
from tests.support.clients.raw_carrier import RawCarrier
from tests.support.clients.stream_socket import StreamSocket
from tests.support.servers.jupyter import JupyterServer

PING_TIMEOUT_S = 0.3
SHORT_PINGS = {"ws_ping_interval": 100, "ws_ping_timeout": 1000 * PING_TIMEOUT_S}


def running(**settings: object) -> JupyterServer:
    return odd_server(extra_config={"ServerApp": {"tornado_settings": {**SHORT_PINGS, **settings}}})


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    """As the launcher starts it, with pings that close a WebSocket soon."""
    with running(remote_runtime_launched=True) as server:
        yield server


@contextmanager
def open_terminal(server: JupyterServer, carrier: RawCarrier) -> Iterator[StreamSocket]:
    name = http_request(server, "POST", "/api/terminals", token=server.token).json()["name"]
    try:
        yield StreamSocket(carrier, 1, server, f"/terminals/websocket/{name}")
    finally:
        http_request(server, "DELETE", f"/api/terminals/{name}", token=server.token)


def go_away(carrier: RawCarrier) -> None:
    carrier.close()
    time.sleep(4 * PING_TIMEOUT_S)


def come_back(server: JupyterServer, carrier: RawCarrier, terminal: StreamSocket) -> RawCarrier:
    back = RawCarrier(server.port, server.token, **carrier.answer, generation=2, number=2)
    terminal.resume(back)
    return back


def test_a_websocket_waits_for_its_client_at_a_server_that_the_launcher_started(server: JupyterServer) -> None:
    with RawCarrier(server.port, server.token) as carrier, open_terminal(server, carrier) as terminal:
        go_away(carrier)
        with come_back(server, carrier, terminal):
            terminal.send(json.dumps(["stdin", "echo answer-$((40 + 2))\r"]))
            assert any(b"answer-42" in message for message in terminal.messages())


def test_the_pings_of_another_server_are_its_owners() -> None:
    with (
        running() as server,
        RawCarrier(server.port, server.token) as carrier,
        open_terminal(server, carrier) as terminal,
    ):
        go_away(carrier)
        with come_back(server, carrier, terminal):
            assert [message for message in terminal.messages() if b"answer" in message] == []
            assert not terminal.is_open
