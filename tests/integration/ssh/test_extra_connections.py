"""More connections to one machine while one would carry too many channels, against a real OpenSSH server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.core.model import Secret
from remote_runtime.ssh.forwarder.extra_capacity import MAX_ACTIVE_PER_CONNECTION
from remote_runtime.tunnel.port_forwarder import PortForwarder
from tests.support.clients.forwarded_port import leading_to
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.waiting import eventually
from tests.support.servers.echo_servers import TOKEN, WITHIN_S, echo, prove_then
from tests.support.servers.second_factor import CODE, asks_for_a_code
from tests.support.servers.sshd import Sshd, running_sshd

MANY = 3 * MAX_ACTIVE_PER_CONNECTION
KEEPALIVE_S = 0.3
PAUSE_S = 0.5  # from then on they are known to last


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


@contextlib.contextmanager
def many(front: PortForwarder) -> Iterator[list[socket.socket]]:
    """Connections that stay open, each of which has spoken; so many that the last ones are too many for one link."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(MANY):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", front.port), timeout=WITHIN_S)))
            assert echoes(clients[-1], number)
            if number == MAX_ACTIVE_PER_CONNECTION:
                time.sleep(PAUSE_S)
        yield clients


def echoes(client: socket.socket, number: int) -> bool:
    try:
        client.sendall(b"%4d" % number)
        return client.recv(4) == b"%4d" % number
    except ConnectionResetError:
        return False


def relief_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "extra SSH connections"]


@pytest.mark.parametrize("token", [None, TOKEN], ids=["plain", "proved"])
def test_many_connections_are_spread_over_several_logins(server: Sshd, tmp_path: Path, token: Secret | None) -> None:
    visitor = Visitor(server, tmp_path / "home")
    with (
        visitor.enter() as session,
        leading_to(session, prove_then(echo) if token else echo, token=token) as front,
        many(front) as clients,
    ):
        assert server.live() > 1
        assert session.connection_count < MANY
        assert all(echoes(client, number) for number, client in enumerate(clients))
        assert visitor.person.asked == []
        front.disconnect()
        for client in clients:  # on every link
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    eventually(lambda: server.live() == 0)
    assert relief_threads() == []


def test_connections_that_end_soon_need_one_login(server: Sshd, tmp_path: Path) -> None:
    with Visitor(server, tmp_path / "home").enter() as session, leading_to(session, echo) as front:
        for number in range(MANY):
            with socket.create_connection(("127.0.0.1", front.port), timeout=WITHIN_S) as client:
                assert echoes(client, number)
        assert server.logins() == 1
        assert relief_threads() == []


def test_a_link_that_is_lost_takes_its_own_connections_only(server: Sshd, tmp_path: Path) -> None:
    visitor = Visitor(server, tmp_path / "home")
    with visitor.enter(keepalive_s=KEEPALIVE_S) as session, leading_to(session, echo) as front:
        with many(front) as clients:
            server.cut_one(1)
            lost = sum(not echoes(client, number) for number, client in enumerate(clients))
            assert 0 < lost < MANY - MAX_ACTIVE_PER_CONNECTION
            assert not session.closed
        with many(front):
            assert not session.closed


def test_links_that_nobody_uses_any_more_are_closed(server: Sshd, tmp_path: Path) -> None:
    visitor = Visitor(server, tmp_path / "home")
    with visitor.enter(keepalive_s=KEEPALIVE_S) as session, leading_to(session, echo) as front:
        with many(front):
            assert server.live() > 1
        eventually(lambda: server.live() == 1, within_s=30 * KEEPALIVE_S + WITHIN_S)
        assert not session.closed
        with many(front):
            assert server.live() > 1


def test_a_server_that_lets_nobody_in_again_carries_all_of_them_on_one_link(server: Sshd, tmp_path: Path) -> None:
    with Visitor(server, tmp_path / "home").enter() as session, leading_to(session, echo) as front:
        server.authorize_nobody()
        with many(front) as clients:
            assert server.logins() == 1
            assert all(echoes(client, number) for number, client in enumerate(clients))
        assert server.log().count("Connection closed by authenticating") == 1, "it is tried once"


def test_who_entered_with_a_second_factor_is_not_asked_for_another(tmp_path: Path) -> None:
    with asks_for_a_code(tmp_path / "sshd") as server:
        visitor = Visitor(server, tmp_path / "home")
        visitor.person.answers = [CODE, CODE]
        with visitor.enter() as session, leading_to(session, echo) as front, many(front):
            assert server.live() == 1
        assert server.log().count("Partial publickey") == len(visitor.person.asked) == 1


def test_an_agent_is_asked_for_one_login_only(server: Sshd, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        eventually(path.exists)
        environ = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", str(server.key_path)], env=environ, check=True)
        visitor = Visitor(server, tmp_path / "home")
        visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(path)}
        with visitor.enter(identity_file=None) as session, leading_to(session, echo) as front, many(front):
            assert server.live() == 1
        visitor.keys.close()
    finally:
        agent.terminate()
        agent.wait(WITHIN_S)
