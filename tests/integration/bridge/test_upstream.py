"""What upstream's jupyter_http_over_ws 0.0.8 gets wrong on the servers of today, one test for each, against ours."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

import pytest

from tests.support.clients.bridge_client import (
    BridgeSocket,
    auth_url_of,
    http_request,
    odd_server,
    open_page,
    open_socket,
)
from tests.support.servers.jupyter import BRIDGE, COLAB_ORIGIN, JupyterServer


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with odd_server() as running:
        yield running


@pytest.fixture
def page(server: JupyterServer) -> Iterator[BridgeSocket]:
    with open_page(server) as opened:
        yield opened


def test_only_the_adapter_to_the_server_knows_notebook_and_nothing_needs_distutils() -> None:
    needed = {path.stem: imported_by(path.read_text()) for path in BRIDGE.glob("*.py")}
    assert {name for name, modules in needed.items() if modules & {"notebook", "jupyter_server"}} == {"server_compat"}
    assert not any(modules & {"distutils", "setuptools", "pkg_resources"} for modules in needed.values())


def imported_by(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).partition(".")[0])
    return found


def test_requests_are_answered_though_the_page_has_cookies(server: JupyterServer) -> None:
    with open_page(server, additional_headers={"Cookie": "_xsrf=1; other=2"}) as page:
        seen = page.request("POST", "/odd/echo", body="{}").json()["headers"]
    assert "cookie" not in {name.lower() for name, _ in seen}


def test_nothing_is_asked_of_the_host_and_port_that_the_page_knows(server: JupyterServer) -> None:
    host = "localhost:1"
    with open_page(server, auth_url=auth_url_of(server, host=host), host=host) as page:
        assert page.request("GET", "/api/kernelspecs").status == 200


def test_the_auth_url_is_not_fetched_again_for_each_message(page: BridgeSocket, server: JupyterServer) -> None:
    before = requests_of_the_page(server)
    for _ in range(10):
        page.request("GET", "/api")
    assert requests_of_the_page(server) == before + 10


def requests_of_the_page(server: JupyterServer) -> int:
    counts = http_request(server, "GET", "/api/remote-runtime", token=server.token).json()["requests"]
    return int(counts[COLAB_ORIGIN])


def test_a_query_stays_as_it_is_in_requests_that_write(page: BridgeSocket) -> None:
    assert page.request("POST", "/odd/echo?a=1&b=2", body="{}").json()["uri"] == "/odd/echo?a=1&b=2"


@pytest.mark.parametrize("path", ["/http_over_websocket", "/http_over_websocket/diagnose"])
@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_message_closes_nothing(server: JupyterServer, path: str, empty: str | bytes) -> None:
    with open_socket(server, path) as socket:
        for message in (empty, "{}"):
            socket.send(message)
            assert json.loads(socket.recv(timeout=20))


def test_a_file_is_served_without_a_referer(page: BridgeSocket, server: JupyterServer) -> None:
    (server.root_dir / "a.txt").write_text("hello")
    assert page.request("GET", "/files/a.txt").body == b"hello"


def test_a_request_of_more_than_10_mb_arrives_whole(page: BridgeSocket) -> None:
    length = 12 * 1000 * 1000
    assert page.request("PUT", "/odd/streamed", body="x" * length).json() == {"bytes": length, "ended": True}
