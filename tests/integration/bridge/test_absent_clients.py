"""A client whose carriers are lost: its WebSockets wait for it, and it does not count as there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from remote_runtime.bridge.streams.protocol import frames
from remote_runtime.core.deadline import Deadline, wait_until
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
def open_terminal(server: JupyterServer, carrier: RawCarrier, stream: int = 1) -> Iterator[StreamSocket]:
    name = http_request(server, "POST", "/api/terminals", token=server.token).json()["name"]
    try:
        yield StreamSocket(carrier, stream, server, f"/terminals/websocket/{name}")
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


def status(server: JupyterServer) -> dict[str, Any]:
    found: dict[str, Any] = http_request(server, "GET", "/api/remote-runtime", token=server.token).json()
    return found


def counts(server: JupyterServer) -> tuple[int, dict[str, int], int]:
    """Clients of the only terminal, WebSockets, and streams without a client."""
    found = status(server)
    (terminal,) = found["terminals"]
    return terminal["clients"], found["sockets"], found["detached"]


def test_the_status_counts_clients_that_are_there(server: JupyterServer) -> None:
    with RawCarrier(server.port, server.token) as carrier, open_terminal(server, carrier) as terminal:
        clients, sockets, detached = counts(server)
        assert (clients, sockets) == (1, {"none": 1})
        carrier.close()
        away: tuple[int, dict[str, int], int] = (0, {}, detached + 1)
        wait_until(lambda: counts(server) == away, Deadline(5), every_s=0.02, what="the loss of the carrier")
        with come_back(server, carrier, terminal):
            assert counts(server) == (clients, sockets, detached)


def test_the_status_tells_when_a_client_was_last_heard_and_ignores_checks(server: JupyterServer) -> None:
    def ask(stream: int, header: str) -> str:
        head = f"GET /api HTTP/1.1\r\nHost: localhost:{server.port}\r\n{header}: check\r\n\r\n"
        carrier.send(frames.frame(frames.DATA, stream, 0, head.encode()))
        assert carrier.receive_data(stream).startswith(b"HTTP/1.1 200")
        return str(status(server)["last_heard"])

    with RawCarrier(server.port, server.token) as carrier:
        before = ask(1, "X-Other")
        assert ask(2, "X-Remote-Runtime") == before
        asked = ask(3, "X-Other")
        assert asked > before
        with open_terminal(server, carrier, 4) as terminal:
            opened = status(server)["last_heard"]
            terminal.send(json.dumps(["stdin", "echo answer-$((40 + 2))\r"]))
            assert any(b"answer-42" in message for message in terminal.messages())
            assert status(server)["last_heard"] > opened > asked


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
