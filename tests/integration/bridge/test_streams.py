"""Streams at a real Jupyter server, with carriers by hand: who may join, what is answered once, what survives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import psutil
import pytest

from remote_runtime.bridge.streams.protocol import frames
from remote_runtime.bridge.streams.server import MAX_SESSIONS
from remote_runtime.core.deadline import Deadline, wait_until
from tests.support.clients.bridge_client import http_request, odd_server
from tests.support.clients.raw_carrier import RawCarrier, take_over
from tests.support.servers.jupyter import JupyterServer

TOKEN_OF_ANOTHER = "0" * 48
NONCE = "a" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with odd_server() as running:
        yield running


@pytest.fixture
def first(server: JupyterServer) -> Iterator[RawCarrier]:
    with RawCarrier(server.port, server.token) as carrier:
        yield carrier


def request(server: JupyterServer, path: str = "/api/status", more: str = "") -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: token {server.token}\r\n{more}\r\n"
    return head.encode()


def status_of(server: JupyterServer, query: str, headers: Mapping[str, str]) -> int:
    return http_request(server, "GET", f"/api/remote-runtime/streams{query}", headers=headers).status


def detached(server: JupyterServer) -> int:
    """Streams without a client."""
    return int(http_request(server, "GET", "/api/remote-runtime", token=server.token).json()["detached"])


def test_a_request_through_a_stream_is_answered(server: JupyterServer, first: RawCarrier) -> None:
    assert first.proved
    first.send(frames.frame(frames.DATA, 1, 0, request(server)))
    assert first.receive_data(1).startswith(b"HTTP/1.1 200 OK")


def test_the_proof_names_the_address_where_the_connection_arrived(server: JupyterServer) -> None:
    for at, proved in ((f"127.0.0.1:{server.port}", True), (f"127.0.0.1:{server.port + 1}", False)):
        with RawCarrier(server.port, server.token, at=at) as carrier:
            assert carrier.proved is proved


def test_who_does_not_know_the_token_cannot_join(server: JupyterServer) -> None:
    with RawCarrier(server.port, TOKEN_OF_ANOTHER, server_token=server.token) as carrier:
        assert carrier.answer == {"reason": "wrong-proof"}
        assert carrier.is_closed()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"secret": "0" * 64, "generation": 2}, "wrong-secret"),
        ({"session": "0" * 32, "generation": 2}, "unknown-session"),
        ({"generation": 0}, "old-generation"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_does_not_know_the_session_cannot_join_it(
    server: JupyterServer, first: RawCarrier, change: dict[str, Any], reason: str
) -> None:
    asked = {**first.answer, "number": 2, **change}
    with RawCarrier(server.port, server.token, **asked) as carrier:
        assert carrier.answer == {"reason": reason}
    first.send(frames.frame(frames.DATA, 1, 0, request(server)))
    assert first.receive_data(1).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"?nonce={NONCE}", {}, 426),
        ("?nonce=x", {"Upgrade": "remote-runtime-streams"}, 400),
        (f"?nonce={NONCE}", {"Upgrade": "remote-runtime-streams", "Host": "evil.example"}, 403),
    ],
    ids=["no upgrade", "no nonce", "another host"],
)
def test_other_requests_are_refused(server: JupyterServer, path: str, headers: dict[str, str], status: int) -> None:
    assert status_of(server, path, headers) == status


def test_a_server_that_was_not_set_up_to_record_outputs_has_none(server: JupyterServer) -> None:
    assert http_request(server, "GET", "/api/remote-runtime/outputs", token=server.token).status == 404


@pytest.mark.parametrize(
    "content",
    [os.urandom(4000), frames.frame(77), frames.frame(frames.DATA, 1, 1 << 40, b"x")],
    ids=["noise", "unknown kind", "beyond the window"],
)
def test_a_client_that_breaks_the_protocol_loses_that_carrier_only(
    server: JupyterServer, first: RawCarrier, content: bytes
) -> None:
    with RawCarrier(server.port, server.token, **first.answer, number=2) as other:
        other.send(content)
        assert other.is_closed()
    first.send(frames.frame(frames.DATA, 1, 0, request(server)))
    assert first.receive_data(1).startswith(b"HTTP/1.1 200 OK")


def test_half_a_request_counts_and_the_whole_is_answered_once(server: JupyterServer, first: RawCarrier) -> None:
    asked = request(server, more=f"X-Long: {'y' * 3000}\r\n")
    first.send(frames.frame(frames.DATA, 1, 0, asked)[: frames.HEAD.size + 1234])
    with RawCarrier(server.port, server.token, **first.answer, generation=2, number=2) as second:
        kind, _, _, payload = second.receive()
        assert kind == frames.SUMMARY
        assert frames.SUMMARY_ENTRY.unpack(payload)[:2] == (1, 1234)
        assert first.is_closed()
        second.send(frames.frame(frames.SUMMARY))
        for _ in range(2):
            second.send(frames.frame(frames.DATA, 1, 0, asked))
        second.send(frames.frame(frames.DATA, 1, len(asked), request(server)))
        assert second.receive_data(1).count(b"HTTP/1.1 200") == 1
        assert second.receive_data(1).count(b"HTTP/1.1 200") == 1


def test_what_was_sent_on_a_lost_carrier_is_sent_again_on_the_next(server: JupyterServer, first: RawCarrier) -> None:
    first.send(frames.frame(frames.DATA, 1, 0, request(server)))
    answer = first.receive_data(1)
    with RawCarrier(server.port, server.token, **first.answer, generation=2, number=2) as second:
        second.send(frames.frame(frames.SUMMARY, 0, 0, frames.SUMMARY_ENTRY.pack(1, 0, 1 << 20)))
        assert second.receive_data(1) == answer


def test_a_stream_that_has_ended_is_not_opened_again(server: JupyterServer, first: RawCarrier) -> None:
    asked = request(server, more="Connection: close\r\n")
    first.send(frames.frame(frames.DATA, 1, 0, asked, frames.FIN))
    end = 0
    while payload := first.receive_data(1):  # the last frame has the end alone
        end += len(payload)
    first.send(frames.frame(frames.ACK, 1, end + 1, frames.LIMIT.pack(1 << 20)))
    with RawCarrier(server.port, server.token, **first.answer, number=2) as other:
        other.send(frames.frame(frames.DATA, 1, 0, asked))
        while (received := first.receive())[0] != frames.RESET:
            assert received[0] in (frames.ACK, frames.DATA)


# ── ends of sessions, and clients that cost too much


def test_streams_that_the_client_resets_are_freed_at_once(server: JupyterServer, first: RawCarrier) -> None:
    process = psutil.Process(server.pid)
    before = process.num_fds()
    for number in range(1, 21):
        first.send(frames.frame(frames.DATA, number, 0, b"GET /api "))
    wait_until(lambda: process.num_fds() == before + 40, Deadline(5), every_s=0.02, what="the streams")
    for number in range(1, 21):
        first.send(frames.frame(frames.RESET, number))
    wait_until(lambda: process.num_fds() == before, Deadline(5), every_s=0.02, what="their end")


def test_a_new_session_replaces_that_of_a_client_that_was_killed(server: JupyterServer) -> None:
    before = detached(server)
    with RawCarrier(server.port, server.token) as killed:
        killed.send(frames.frame(frames.DATA, 1, 0, b"GET /api "))
    wait_until(lambda: detached(server) == before + 1, Deadline(5), every_s=0.02, what="the end of the carrier")
    stranger = {**killed.answer, "secret": "0" * 64}
    with RawCarrier(server.port, server.token, replaces=stranger) as carrier:
        assert carrier.answer == {"reason": "wrong-secret"}
    assert detached(server) == before + 1
    with RawCarrier(server.port, server.token, replaces=killed.answer):
        assert detached(server) == before
    with RawCarrier(server.port, server.token, **killed.answer, generation=2) as carrier:
        assert carrier.answer == {"reason": "unknown-session"}
    with RawCarrier(server.port, server.token, replaces=killed.answer) as carrier:
        assert "session" in carrier.answer, "the server may have been started again"


def test_sessions_are_limited_and_those_without_streams_make_room(server: JupyterServer) -> None:
    for _ in range(MAX_SESSIONS + 1):
        with RawCarrier(server.port, server.token) as carrier:
            assert "session" in carrier.answer
    with ExitStack() as stack:
        for _ in range(MAX_SESSIONS):
            carrier = stack.enter_context(RawCarrier(server.port, server.token))
            if "session" in carrier.answer:
                carrier.send(frames.frame(frames.DATA, 1, 0, b"GET /api "))
                stack.callback(carrier.send, frames.frame(frames.RESET, 1))
        with RawCarrier(server.port, server.token) as carrier:
            assert carrier.answer == {"reason": "too-many-sessions"}


@pytest.mark.parametrize(
    "content",
    [
        os.urandom(4000),
        frames.HEAD.pack(frames.HELLO, 0, 0, 0, 0, 1 << 30),
        frames.frame(frames.DATA, 1, 0, b"GET / HTTP/1.1"),
        frames.frame(frames.HELLO, payload=b"[" * 4000),
        frames.frame(frames.HELLO, payload=b'{"generation": Infinity, "carrier": 1}'),
        frames.frame(frames.HELLO, payload=b'{"generation": 1, "carrier": 4294967296}'),
        frames.frame(frames.HELLO, payload=b'{"generation": 1, "carrier": 1, "proof": "\\ud800"}'),
    ],
    ids=["noise", "1 GiB", "DATA", "deep JSON", "infinite", "large number", "surrogate"],
)
def test_who_says_no_hello_is_cut_off(server: JupyterServer, content: bytes) -> None:
    sock, _ = take_over(server.port, NONCE)
    with sock:
        sock.sendall(content)
        with suppress(ConnectionResetError):
            assert sock.recv(1000) == b""


def test_who_waits_with_the_hello_keeps_a_bounded_number_of_connections(server: JupyterServer) -> None:
    asked = (f"?nonce={NONCE}", {"Upgrade": "remote-runtime-streams"})
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(take_over(server.port, NONCE)[0])
        assert status_of(server, *asked) == 503
    wait_until(lambda: status_of(server, *asked) == 101, Deadline(4), every_s=0.02, what="room")
