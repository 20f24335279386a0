"""Streams through a real sshd to a real Jupyter: they outlive SSH connections, and end with their server."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.errors import HealthError
from remote_runtime.core.model import Secret
from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.tunnel.identity import challenge
from tests.support.clients.ssh_client import Visitor
from tests.support.clients.stream_port import Port
from tests.support.environment.waiting import eventually
from tests.support.servers.asyncssh_server import running_asyncssh
from tests.support.servers.echo_servers import Target, read_all
from tests.support.servers.jupyter import JupyterServer
from tests.support.servers.sshd import Sshd, running_sshd

WITHIN_S = 20.0
FILE = random.Random(1).randbytes(20 << 20)  # noqa: S311  # data to compare


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with JupyterServer() as running:
        (running.root_dir / "file.bin").write_bytes(FILE)
        yield running


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def port(sshd: Sshd, server: JupyterServer, tmp_path: Path) -> Iterator[Port]:
    opened = Port(Visitor(sshd, tmp_path / "visitor"), server)
    try:
        opened.connect()
        yield opened
    finally:
        opened.close()


def body_of(client: socket.socket, received: bytes = b"") -> bytes:
    with client:
        head, _, body = (received + read_all(client)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK"), head[:200]
    return body


def test_a_download_goes_on_over_the_next_connection_and_the_one_after_it(port: Port) -> None:
    client = port.ask("/files/file.bin")
    received = client.recv(100_000)
    for _ in range(2):
        port.lose()
        assert port.waiting() == 1
        port.connect()
        received += client.recv(100_000)
    assert hashlib.sha256(body_of(client, received)).digest() == hashlib.sha256(FILE).digest()


def test_the_identity_is_proved_for_the_address_of_the_server_through_a_stream_too(port: Port) -> None:
    for at, is_proved in ((f"127.0.0.1:{port.server.port}", True), (f"127.0.0.1:{port.server.port + 1}", False)):
        path, expected = challenge(Secret(port.server.token), at)
        with port.ask(path) as client:
            assert (json.loads(read_all(client).partition(b"\r\n\r\n")[2])["hmac"] == expected) is is_proved


def test_an_upload_goes_on_and_arrives_once(port: Port, server: JupyterServer) -> None:
    content = b'{"type": "file", "format": "text", "content": "%s"}' % (b"x" * (8 << 20))
    client = socket.create_connection(("127.0.0.1", port.front.port), timeout=WITHIN_S)
    head = f"PUT /api/contents/up.txt HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {server.token}\r\n"
    client.sendall(f"{head}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n".encode())
    client.sendall(content[: 3 << 20])
    port.lose()
    port.connect()
    client.sendall(content[3 << 20 :])
    with client:
        assert read_all(client).startswith(b"HTTP/1.1 201")
    assert (server.root_dir / "up.txt").read_bytes() == b"x" * (8 << 20)


def test_a_client_that_left_meanwhile_is_closed_at_the_server_too(port: Port) -> None:
    client = port.ask("/files/file.bin")
    client.recv(1000)
    port.lose()
    client.close()
    port.connect()
    eventually(lambda: not port.streams.session.streams, what="the stream ends")
    assert body_of(port.ask("/files/file.bin")) == FILE


def test_a_carrier_that_breaks_costs_nothing_and_is_replaced(port: Port) -> None:
    client = port.ask("/files/file.bin")
    received = client.recv(1000)
    session = port.streams.session
    eventually(lambda: len(session.carriers) > 1, what="there is a carrier for bulk")
    cut = session.carriers[1]
    loop_of(port)(lambda: cut.on_lost("cut by the test"))
    assert body_of(client, received) == FILE
    eventually(lambda: len(session.carriers) > 1 and cut not in session.carriers, what="it is replaced")


def loop_of(port: Port) -> Callable[[Callable[[], None]], object]:
    loop = port.streams._current_loop()
    assert loop is not None
    return loop.call_soon


def test_a_restarted_server_resets_the_connections_with_the_reason(sshd: Sshd, tmp_path: Path) -> None:
    opened = Port(Visitor(sshd, tmp_path / "visitor"), JupyterServer())
    with contextlib.closing(opened):
        with opened.server as first:
            (first.root_dir / "file.bin").write_bytes(FILE)
            opened.connect()
            client = opened.ask("/files/file.bin")
            client.recv(1000)
        with JupyterServer() as second:
            opened.front.disconnect()
            opened.connect(second)
            with pytest.raises(ConnectionResetError):
                read_all(client)
            status = opened.streams.status()
            assert status is not None
            assert (status.waiting, status.reset) == (0, 1)
            assert "Jupyter was restarted" in status.why
            with opened.ask("/api/status") as client:
                assert read_all(client).startswith(b"HTTP/1.1 200")


def test_a_dead_server_is_reported_at_once_to_who_asks_anew(sshd: Sshd, tmp_path: Path) -> None:
    opened = Port(Visitor(sshd, tmp_path / "visitor"), JupyterServer())
    with contextlib.closing(opened):
        with opened.server:
            opened.connect()
        with opened.ask("/api/status") as client:
            assert read_all(client).startswith(b"HTTP/1.1 502 not-answering")


def test_closing_ends_the_connections_at_both_ends(port: Port, server: JupyterServer) -> None:
    client = port.ask("/files/file.bin")
    client.recv(1000)
    port.streams.close("the test ends them")
    with client, pytest.raises(ConnectionResetError):
        read_all(client)
    assert not port.streams.session.streams


@pytest.mark.parametrize("is_right", [True, False], ids=["its key", "another key"])
def test_who_follows_a_process_that_was_killed_ends_its_connections(port: Port, is_right: bool) -> None:
    def detached(through: Port) -> int:
        with through.ask("/api/remote-runtime") as client:
            return int(json.loads(read_all(client).partition(b"\r\n\r\n")[2])["detached"])

    before = detached(port)
    with port.ask("/files/file.bin") as client:
        client.recv(1000)
        key = port.streams.key
        assert key is not None
        port.lose()
        former = key if is_right else Secret(key.reveal()[:-1] + "x")
        with contextlib.closing(Port(port._visitor, port.server, former)) as follower:
            follower.connect()
            assert detached(follower) - before == (0 if is_right else 1)
        port.connect()
        port.streams.close("the test is over")


def test_a_server_without_the_bridge_gets_a_channel_for_each_connection(port: Port, server: JupyterServer) -> None:
    with JupyterServer(bridge=False) as other:
        port.connect(other)
        assert port.streams.status() is None
        with port.ask("/api/status") as client:
            assert read_all(client).startswith(b"HTTP/1.1 502 stranger-answered"), "it has no identity to prove, too"


def test_a_stranger_that_takes_the_connection_over_gets_nothing(port: Port) -> None:
    seen: list[bytes] = []

    def take_over(client: socket.socket) -> None:
        seen.append(client.recv(4096))
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nStreams-Proof: 00\r\nStreams-Nonce: 11\r\n\r\n")
        try:
            seen.append(client.recv(4096))
        except ConnectionResetError:
            seen.append(b"")

    with Target(take_over) as target, contextlib.closing(Port(port._visitor, port.server)) as other:
        session = other._sessions.enter_context(port._visitor.enter())
        upstream = SessionUpstream(session, *target.address, streams=other.streams)
        with pytest.raises(HealthError) as caught:
            other.front.set_upstream(upstream, Secret(port.server.token))
        eventually(lambda: seen[1:] == [b""], what="it sees the end of the connection")
    assert caught.value.code == "stranger-answered"
    assert port.server.token.encode() not in seen[0]


def test_asyncssh_carries_them_too(server: JupyterServer, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        other: Any = stack.enter_context(running_asyncssh(tmp_path))
        port = stack.enter_context(contextlib.closing(Port(Visitor(other, tmp_path / "visitor"), server)))
        port.connect()
        assert port.streams.status() is not None
        assert body_of(port.ask("/files/file.bin")) == FILE
