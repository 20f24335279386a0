"""WebSockets handed over by the bridge, and WebSockets opened directly, against a real server and a real kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State
from websockets.sync.client import ClientConnection

from remote_runtime.core.deadline import Deadline, wait_until
from tests.support.clients.bridge_client import (
    LIMIT_S,
    as_binary,
    http_request,
    odd_server,
    open_page,
    open_socket,
)
from tests.support.clients.page import execute, execute_request
from tests.support.servers.jupyter import COLAB_ORIGIN, JupyterServer

EVIL = "https://evil.example"
PROXIED = "/http_over_websocket/proxied_ws"
SEND_BUFFERS = """
from ipykernel.kernelapp import IPKernelApp
kernel = IPKernelApp.instance().kernel
content = {"data": {}, "metadata": {}, "transient": {}}
kernel.session.send(
    kernel.iopub_socket, "display_data", content, parent=kernel.get_parent("shell"), buffers=[b"\\x00\\xff"]
)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with odd_server() as running:
        yield running


def status_of_refusal(server: JupyterServer, path: str, **wanted: Any) -> int:
    with pytest.raises(InvalidStatus) as refused, open_socket(server, path, **wanted):
        pass
    return refused.value.response.status_code


def test_a_cell_runs_over_the_bridge_and_directly(server: JupyterServer) -> None:
    with open_page(server) as page:
        body = '{"name":"","path":"a.ipynb","type":"notebook","kernel":{"name":"python3"}}'
        session = page.request("POST", "/api/sessions", body=body)
        assert session.status == 201
        channels = f"/api/kernels/{session.json()['kernel']['id']}/channels"
        with open_socket(server, PROXIED + channels, query={"session_id": "s"}) as bridged:
            assert execute(bridged, "print(6*7)") == "42"
        with open_socket(server, channels, auth_url=None, query={"token": server.token}) as direct:
            assert execute(direct, "print(6*7)") == "42"
        assert page.request("DELETE", f"/api/sessions/{session.json()['id']}").status == 204


def test_the_target_sees_its_own_path_query_and_arguments_and_the_credentials(server: JupyterServer) -> None:
    with open_socket(server, f"{PROXIED}/odd/ws", query={"x": "1 2", "min_version": "0.0.7", "y": ""}) as opened:
        seen = json.loads(opened.recv(timeout=LIMIT_S))
    assert seen == {"uri": "/odd/ws?x=1+2&y=", "x": "1 2", "authorization": f"token {server.token}"}


def test_text_binary_and_empty_messages_go_both_ways(server: JupyterServer) -> None:
    with open_socket(server, f"{PROXIED}/odd/ws") as opened:
        opened.recv(timeout=LIMIT_S)
        for message in ("text", "grüße", b"\x00\xff", "", b""):
            opened.send(message)
            assert opened.recv(timeout=LIMIT_S) == message


def test_the_subprotocol_is_kept(server: JupyterServer) -> None:
    with open_socket(server, f"{PROXIED}/odd/ws", subprotocols=["one", "two"]) as opened:
        assert opened.subprotocol == "two"


def test_close_codes_are_passed_on(server: JupyterServer) -> None:
    with open_socket(server, f"{PROXIED}/odd/ws") as opened:
        opened.recv(timeout=LIMIT_S)
        opened.send("close 4001 enough")
        with pytest.raises(ConnectionClosed) as closed:
            opened.recv(timeout=LIMIT_S)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")


def test_the_pages_close_code_reaches_the_target(server: JupyterServer) -> None:
    with open_socket(server, f"{PROXIED}/odd/ws") as opened:
        opened.recv(timeout=LIMIT_S)
        opened.close(4002, "going")
    closed = {"code": 4002, "reason": "going"}
    wait_until(lambda: last_close(server) == closed, Deadline(10), every_s=0.02, what="the target that knows")


def last_close(server: JupyterServer) -> object:
    return http_request(server, "GET", "/odd/last-close").json()


@pytest.fixture(scope="module")
def kernel(server: JupyterServer) -> Iterator[str]:
    """The path of a kernel's channels."""
    kernel_id = http_request(server, "POST", "/api/kernels", token=server.token).json()["id"]
    yield f"/api/kernels/{kernel_id}/channels"
    http_request(server, "DELETE", f"/api/kernels/{kernel_id}", token=server.token)


@pytest.fixture(scope="module")
def terminal(server: JupyterServer) -> Iterator[str]:
    """The path of a terminal's WebSocket."""
    name = http_request(server, "POST", "/api/terminals", token=server.token).json()["name"]
    yield f"/terminals/websocket/{name}"
    http_request(server, "DELETE", f"/api/terminals/{name}", token=server.token)


def test_a_kernel_takes_and_gives_binary_messages(server: JupyterServer, kernel: str) -> None:
    with open_socket(server, PROXIED + kernel) as opened:
        assert execute(opened, "print(1)") == "1"
        request = as_binary(execute_request("binary", SEND_BUFFERS))
        opened.send(request)
        while True:
            message = opened.recv(timeout=LIMIT_S)
            if isinstance(message, bytes):
                assert message.endswith(b"\x00\xff")
                assert b"display_data" in message
                return


def test_a_kernels_subprotocol_is_the_one_it_gives_directly(server: JupyterServer, kernel: str) -> None:
    wanted: dict[str, Any] = {"subprotocols": ["v1.kernel.websocket.jupyter.org"], "query": {"token": server.token}}
    with open_socket(server, kernel, **wanted) as direct, open_socket(server, PROXIED + kernel, **wanted) as bridged:
        assert bridged.subprotocol == direct.subprotocol


@pytest.mark.parametrize("binary", [False, True])
def test_a_terminal_runs_commands(server: JupyterServer, terminal: str, *, binary: bool) -> None:
    with open_socket(server, PROXIED + terminal) as opened:
        for message in (["set_size", 24, 80], ["stdin", "echo $((6*7))\r"]):
            text = json.dumps(message)
            opened.send(text.encode() if binary else text)
        said = ""
        while "42" not in said:
            kind, *rest = json.loads(opened.recv(timeout=LIMIT_S))
            said += rest[0] if kind == "stdout" else ""


@pytest.mark.parametrize("target", ["kernel", "terminal"])
@pytest.mark.parametrize("message", ["", b""])
def test_an_empty_message_is_judged_by_the_target_as_it_is_directly(
    server: JupyterServer, target: str, message: str | bytes, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(target)
    ends = []
    for prefix in ("", PROXIED):
        with open_socket(server, prefix + path, query={"token": server.token}) as opened:
            opened.send(message)
            ends.append(lives_on(opened))
            opened.close_timeout = 0.5  # a handler that stumbled over the message answers no close either
    assert ends[0] == ends[1]


def lives_on(opened: ClientConnection) -> bool:
    """Whether the server still answers after what it was sent last."""
    try:
        answered = opened.ping()
    except ConnectionClosed:
        return False
    wait_until(
        lambda: answered.is_set() or opened.state is State.CLOSED,
        Deadline(20),
        every_s=0.02,
        what="an answer or an end",
    )
    return answered.is_set()


@pytest.mark.parametrize("path", ["/odd/ws", f"{PROXIED}/odd/ws"])
def test_every_websocket_sends_without_delay(server: JupyterServer, path: str) -> None:
    with open_socket(server, path) as opened:
        opened.recv(timeout=LIMIT_S)
        # tornado reads on without a turn of the loop as long as messages are there, so the first answer may be no.
        wait_until(lambda: sends_at_once(opened), Deadline(10), every_s=0.02, what="a connection without delay")


def sends_at_once(opened: ClientConnection) -> bool:
    opened.send("nodelay")
    return opened.recv(timeout=LIMIT_S) == "true"


@pytest.mark.parametrize("path", ["/nowhere", "/api/kernels", "/", "/odd/echo"])
def test_a_target_that_is_no_websocket_is_answered_404(server: JupyterServer, path: str) -> None:
    assert status_of_refusal(server, PROXIED + path) == 404


@pytest.mark.parametrize("depth", [1, 400])
def test_proxied_sockets_do_not_nest(server: JupyterServer, depth: int) -> None:
    assert status_of_refusal(server, PROXIED * (depth + 1) + "/odd/ws") == 404
    assert status_of_refusal(server, PROXIED * depth + "/http_over_websocket") == 404


def test_a_plain_request_for_a_proxied_path_is_not_handed_over(server: JupyterServer) -> None:
    answer = http_request(server, "GET", f"{PROXIED}/odd/ws", token=server.token)
    assert answer.status == 404


def test_a_kernels_socket_without_the_token_is_refused(server: JupyterServer) -> None:
    kernel = http_request(server, "POST", "/api/kernels", token=server.token).json()["id"]
    channels = f"{PROXIED}/api/kernels/{kernel}/channels"
    assert status_of_refusal(server, channels, auth_url=None) == 403
    assert status_of_refusal(server, channels, auth_url=f"{server.base}/?token=wrong") == 403
    assert status_of_refusal(server, channels, auth_url=f"http://evil.example/?token={server.token}") == 403
    http_request(server, "DELETE", f"/api/kernels/{kernel}", token=server.token)


@pytest.mark.parametrize("path", ["/odd/ws", f"{PROXIED}/odd/ws", "/http_over_websocket", "/api/events/subscribe"])
@pytest.mark.parametrize(
    "origin", [EVIL, "null", f"{COLAB_ORIGIN}.evil.example", "http://localhost.evil.example", "http://localhost:1"]
)
def test_a_foreign_origin_is_refused_on_every_websocket_though_it_has_the_token(
    server: JupyterServer, path: str, origin: str
) -> None:
    assert status_of_refusal(server, path, origin=origin, query={"token": server.token}) == 403


@pytest.mark.parametrize(
    "origin", [None, COLAB_ORIGIN, "http://localhost:{port}", "http://127.0.0.1:{port}", "http://[::1]:{port}"]
)
def test_the_servers_own_pages_and_scripts_are_let_in(server: JupyterServer, origin: str | None) -> None:
    with open_socket(server, "/odd/ws", origin=origin and origin.format(port=server.port)) as opened:
        opened.recv(timeout=LIMIT_S)


@pytest.mark.parametrize("path", ["/odd/ws", f"{PROXIED}/odd/ws", "/http_over_websocket"])
def test_open_sockets_are_counted_by_origin(server: JupyterServer, path: str) -> None:
    with open_socket(server, path):
        wait_until(lambda: sockets(server) == {COLAB_ORIGIN: 1}, Deadline(10), every_s=0.02, what="one open socket")
    wait_until(lambda: sockets(server) == {}, Deadline(10), every_s=0.02, what="no open socket")


def sockets(server: JupyterServer) -> object:
    return http_request(server, "GET", "/api/remote-runtime", token=server.token).json()["sockets"]
