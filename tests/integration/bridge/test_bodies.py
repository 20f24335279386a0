"""Who has no token cannot fill the server's memory. ``scripts/soak bodies`` does it at full length."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import psutil
import pytest

from tests.support.clients.bridge_client import http_request, odd_server
from tests.support.faults.endless_body import MIB, Flood
from tests.support.servers.jupyter import COLAB_ORIGIN, JupyterServer

LARGEST_UNKNOWN = 64 * 1024
GROWTH_BYTES = 20 * MIB


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with odd_server() as running:
        yield running


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": f"{100 * MIB}"},
        {"Content-Length": f"{100 * MIB}", "Origin": "https://evil.example"},
        {"Content-Length": f"{100 * MIB}", "Origin": COLAB_ORIGIN, "Expect": "100-continue"},
        {"Content-Length": f"{100 * MIB}", "Authorization": "token wrong", "Cookie": "username-127-0-0-1-1=2|1:0|x"},
        {"Transfer-Encoding": "chunked"},
        {"Transfer-Encoding": "chunked", "Origin": "null"},
    ],
)
def test_the_body_of_who_is_unknown_is_refused_before_it_is_read(
    server: JupyterServer, headers: dict[str, str]
) -> None:
    before = psutil.Process(server.pid).memory_info().rss
    paths = (
        "POST /api/contents/x",
        "PUT /odd/echo?token=wrong",
        "GET /api",
        "OPTIONS /api",
        "POST /http_over_websocket",
        "POST /no",
    )
    with contextlib.ExitStack() as stack:
        floods = [stack.enter_context(Flood(server.port, path, headers)) for path in paths]
        for flood in floods:
            flood.send(20 * MIB)
        assert [flood.status() for flood in floods] == [403] * len(floods)
        assert psutil.Process(server.pid).memory_info().rss - before < GROWTH_BYTES


def test_a_foreign_page_with_the_token_is_refused_before_its_body_is_read(server: JupyterServer) -> None:
    headers = {"Content-Length": f"{100 * MIB}", "Origin": "https://evil.example"}
    with Flood(server.port, f"POST /api/contents?token={server.token}", headers) as flood:
        flood.send(20 * MIB)
        assert flood.status() == 403


def test_bodies_of_who_is_known_and_short_ones_are_read_as_ever(server: JupyterServer) -> None:
    large = b"x" * (LARGEST_UNKNOWN + 1)
    for token, path in ((server.token, "/odd/echo"), (None, f"/odd/echo?token={server.token}")):
        answer = http_request(server, "POST", path, body=large, token=token)
        assert (answer.status, len(answer.json()["body"])) == (200, len(large))
    answer = http_request(server, "POST", "/odd/echo", body=large[:-1])
    assert (answer.status, len(answer.json()["body"])) == (200, LARGEST_UNKNOWN)
    answer = http_request(server, "POST", "/odd/echo", body=large, origin=COLAB_ORIGIN)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (403, COLAB_ORIGIN)


def test_the_login_cookie_is_known(server: JupyterServer) -> None:
    page = http_request(server, "GET", f"/api/kernelspecs?token={server.token}")
    cookie = page.headers["set-cookie"].partition(";")[0]
    large = b"x" * (LARGEST_UNKNOWN + 1)
    assert http_request(server, "POST", "/odd/echo", headers={"Cookie": cookie}, body=large).status == 200


def test_who_leaves_while_the_server_looks_who_it_is_costs_nothing(server: JupyterServer) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /odd/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n")
    assert http_request(server, "GET", "/api").status == 200
    assert "Traceback" not in server.log_text()
