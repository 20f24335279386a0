"""Much at once, too much, and pages that leave: what the bridge's WebSocket holds out, against a real server."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from remote_runtime.core.deadline import Deadline, wait_until
from tests.support.clients.bridge_client import BridgeSocket, http_request, odd_server, open_page
from tests.support.servers.jupyter import JupyterServer

BODY_BYTES = 8 * 1024 * 1024
# The bridge takes the largest body as base64, and 16 MiB more to be able to answer 413.
MESSAGE_BYTES = BODY_BYTES // 3 * 4 + 16 * 1024 * 1024
BIG_BYTES = 100 * 1000 * 1000
GROWTH_BYTES = 32 * 1000 * 1000


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with odd_server(extra_config={"ServerApp": {"max_body_size": BODY_BYTES}}) as running:
        yield running


@pytest.fixture
def page(server: JupyterServer) -> Iterator[BridgeSocket]:
    with open_page(server) as opened:
        yield opened


def test_requests_on_one_socket_run_side_by_side(page: BridgeSocket) -> None:
    waiting = page.ask("GET", "/odd/gate")
    assert page.request("GET", "/api").status == 200
    page.request("POST", "/odd/gate")
    assert page.answer(waiting).body == b"through"


def test_more_requests_than_run_at_once_are_all_answered(page: BridgeSocket) -> None:
    ids = [page.ask("GET", f"/odd/echo?n={number}") for number in range(300)]
    assert [page.answer(message_id).json()["uri"] for message_id in ids] == [f"/odd/echo?n={n}" for n in range(300)]


def test_a_request_beyond_those_that_run_at_once_waits_for_one_to_end(
    page: BridgeSocket, server: JupyterServer
) -> None:
    waiting = [page.ask("GET", "/odd/gate") for _ in range(64)]
    late = page.ask("GET", "/odd/echo")
    wait_until(lambda: _waiting(server) == 64, Deadline(10), every_s=0.05, what="64 requests that wait")
    http_request(server, "POST", "/odd/gate")
    page.answer(late)
    assert all(page.answer(message_id).body == b"through" for message_id in waiting)


def test_a_100_mb_file_comes_whole_in_bounded_memory_with_others_between(
    page: BridgeSocket, server: JupyterServer
) -> None:
    content = hashlib.sha512(b"seed").digest() * (BIG_BYTES // 64)
    (server.root_dir / "big.bin").write_bytes(content)
    process = psutil.Process(server.pid)
    before = peak = process.memory_info().rss
    received = hashlib.sha256()
    big, others, length = page.ask("GET", "/files/big.bin"), 0, 0
    small = page.ask("GET", "/odd/echo")
    while length < BIG_BYTES:
        piece = page.receive()
        if piece["message_id"] == big:
            received.update(base64.b64decode(piece["data"]))
            length += len(base64.b64decode(piece["data"]))
        elif piece["done"]:
            assert piece["message_id"] == small
            small, others = page.ask("GET", "/odd/echo"), others + 1
            peak = max(peak, process.memory_info().rss)
    (server.root_dir / "big.bin").unlink()
    assert piece["done"]
    assert received.digest() == hashlib.sha256(content).digest()
    assert others > 5
    assert peak - before < GROWTH_BYTES


def test_an_answer_written_in_one_go_comes_whole_in_pieces(page: BridgeSocket) -> None:
    answer = page.request("GET", "/odd/lump?bytes=1000000")
    assert answer.body == b"x" * 1_000_000
    assert max(len(base64.b64decode(piece.get("data", ""))) for piece in answer.pieces) == 64 * 1024


def test_an_answer_of_unknown_length_comes_as_it_is_written(page: BridgeSocket) -> None:
    answer = page.request("GET", "/odd/drops")
    assert [base64.b64decode(piece.get("data", "")) for piece in answer.pieces] == [b"", b"one", b"two", b""]


def test_an_answer_is_not_written_faster_than_the_page_reads(server: JupyterServer) -> None:
    with open_page(server, max_queue=1) as page:
        page.ask("GET", "/odd/endless")
        seen = wait_until(lambda: _same_twice(server), Deadline(30), every_s=0.3, what="the writer's stop")
        assert 0 < seen < 64 * 1024 * 1024
        page.socket.socket.close()
    wait_until(lambda: _endless(server)["ended"], Deadline(30), every_s=0.05, what="the end of the abandoned answer")


def test_handlers_are_told_when_the_page_leaves(server: JupyterServer) -> None:
    with open_page(server) as page:
        for _ in range(3):
            page.ask("GET", "/odd/gate")
        page.request("GET", "/api")
    wait_until(lambda: _left(server) >= 3, Deadline(10), every_s=0.05, what="three handlers that know")
    http_request(server, "POST", "/odd/gate")


def test_a_handler_that_takes_its_body_bit_by_bit_gets_it(page: BridgeSocket) -> None:
    assert page.request("PUT", "/odd/streamed", body="x" * 1_000_000).json() == {"bytes": 1_000_000, "ended": True}
    assert page.request("PUT", "/odd/streamed").json() == {"bytes": 0, "ended": True}


def test_a_body_at_the_servers_limit_is_taken(page: BridgeSocket) -> None:
    assert len(page.request("PUT", "/odd/echo", body="x" * BODY_BYTES).json()["body"]) == BODY_BYTES


@pytest.mark.parametrize("spelling", ["body", "body_base64"])
def test_a_body_over_the_servers_limit_is_answered_413_and_nothing_else_is_lost(
    page: BridgeSocket, spelling: str
) -> None:
    waiting = page.ask("GET", "/odd/gate")
    too_much = b"x" * (BODY_BYTES + 1)
    body = too_much.decode() if spelling == "body" else base64.b64encode(too_much).decode()
    assert page.request("PUT", "/odd/echo", **{spelling: body}).status == 413
    page.request("POST", "/odd/gate")
    assert page.answer(waiting).body == b"through"


def test_a_message_over_the_websockets_limit_closes_it_with_1009_after_the_answers_before(page: BridgeSocket) -> None:
    asked = [page.ask("GET", f"/odd/echo?n={number}") for number in range(40)]
    page.answer(asked[-1])
    with contextlib.suppress(ConnectionClosed):
        page.socket.send("x" * (MESSAGE_BYTES + 1))
    assert all(page.answer(message_id).status == 200 for message_id in asked[:-1])
    assert _close_code(page) == 1009


def test_what_is_under_way_is_answered_before_a_message_over_the_limit_ends_the_socket(
    page: BridgeSocket, server: JupyterServer
) -> None:
    asked = [page.ask("GET", "/odd/gate") for _ in range(5)]
    wait_until(lambda: _waiting(server) == 5, Deadline(10), every_s=0.05, what="5 requests that wait")

    page.socket.socket.sendall(b"\x81\xff" + (MESSAGE_BYTES + 1).to_bytes(8, "big") + bytes(1 << 16))
    assert http_request(server, "GET", "/api").status == 200
    http_request(server, "POST", "/odd/gate")
    assert [page.answer(message_id).body for message_id in asked] == [b"through"] * 5
    assert _close_code(page) == 1009


def test_before_authentication_a_message_over_64_kib_closes_the_socket_with_1009(server: JupyterServer) -> None:
    with open_page(server, auth_url=None) as page:
        page.socket.send(json.dumps({"path": "/api", "method": "GET", "message_id": 1, "body": "x" * 65536}))
        assert _close_code(page) == 1009


def test_a_page_that_never_ends_its_side_is_ended_after_the_close_code(server: JupyterServer) -> None:
    process = psutil.Process(server.pid)
    before = process.num_fds()
    key = base64.b64encode(b"0" * 16).decode()
    lines = ["GET /http_over_websocket HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: Upgrade"]
    lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as tcp, tcp.makefile("rb") as answer:
        tcp.sendall("\r\n".join(lines).encode())
        assert b"101" in answer.readline()
        while answer.readline().strip():
            pass
        tcp.sendall(b"\x81\xff" + (1 << 20).to_bytes(8, "big") + bytes(1 << 18))
        code = (1009).to_bytes(2, "big")
        assert answer.read() == b"\x88\x11" + code + b"message too big"
        wait_until(lambda: process.num_fds() <= before, Deadline(20), every_s=0.1, what="the server's end of it")


def test_what_tornado_refuses_to_parse_is_answered_and_the_socket_goes_on(page: BridgeSocket) -> None:
    # Newer versions of tornado take 1,000 fields in a query.
    assert page.request("GET", "/odd/echo?" + "a=1&" * 5_000).status in (200, 400)
    assert page.request("GET", "/api").status == 200


def _close_code(page: BridgeSocket) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        page.receive()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def _left(server: JupyterServer) -> int:
    return int(http_request(server, "GET", "/odd/gate?count=1").json()["left"])


def _waiting(server: JupyterServer) -> int:
    return int(http_request(server, "GET", "/odd/gate?count=1").json()["waiting"])


def _endless(server: JupyterServer) -> dict[str, int]:
    found = http_request(server, "GET", "/odd/endless?count=1").json()
    assert isinstance(found, dict)
    return found


def _same_twice(server: JupyterServer) -> int | None:
    before = _endless(server)["written"]
    for _ in range(20):
        if _endless(server)["written"] != before:
            return None
    return before or None
