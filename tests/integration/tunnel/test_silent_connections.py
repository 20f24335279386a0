"""Any program of this computer can connect to a local port: what says nothing takes nobody's place."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from remote_runtime.core.model import Secret
from remote_runtime.core.open_files import RESERVED_FILES
from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.ssh.session import Session
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder
from remote_runtime.tunnel.protocols import Upstream
from tests.support.clients.forwarded_port import DirectUpstream, visit
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.waiting import eventually
from tests.support.servers.echo_servers import TOKEN, Target, echo, prove_then
from tests.support.servers.sshd import running_sshd

HELLO = b"GET / HTTP/1.1\r\n\r\n"
HTTPS = bytes.fromhex("1603010200010001fc0303")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    home = tmp_path_factory.mktemp("sshd")
    with running_sshd(home / "server") as server, Visitor(server, home / "visitor").enter() as session:
        yield session


@contextlib.contextmanager
def opened(way: Callable[[Target], Upstream], token: Secret | None = TOKEN) -> Iterator[PortForwarder]:
    with Target(prove_then(echo) if token else echo) as target:
        front = PortForwarder(ports.bind(None))
        try:
            front.set_upstream(way(target), token)
            yield front
        finally:
            front.close()


def upstream_of(session: Session, *, threads: bool) -> Callable[[Target], Upstream]:
    return DirectUpstream if threads else lambda target: SessionUpstream(session, *target.address)


def echoes(client: socket.socket, said: bytes) -> bool:
    client.sendall(said)
    return client.recv(len(said)) == said


def is_reset(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@contextlib.contextmanager
def few_files(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hundreds_that_say_nothing_get_no_channel_and_the_oldest_go(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 8192)
    with (
        few_files(most),
        opened(lambda target: SessionUpstream(session, *target.address)) as front,
        ExitStack() as stack,
    ):
        owner = stack.enter_context(visit(front))
        assert echoes(owner, HELLO)
        strangers = [stack.enter_context(visit(front)) for _ in range(700)]
        # A few of the first may wait in a thread, as they do before anything leads to the machine.
        eventually(lambda: front.stats.counted().sent_away >= 120)
        assert echoes(owner, b"still here")
        loop = session._transport.loop
        assert loop is not None
        assert len(loop.channels) < 10, "the machine does not know of them"
        assert echoes(strangers[-1], HELLO), "who speaks is served"
        with visit(front) as late:
            assert echoes(late, HELLO)
    assert len([record for record in caplog.records if "sent away" in record.message]) < 5


@pytest.mark.parametrize("token", [None, TOKEN], ids=["plain", "proved"])
def test_the_oldest_silent_ones_go_where_each_connection_has_a_thread(token: Secret | None) -> None:
    with few_files(364), opened(DirectUpstream, token) as front, ExitStack() as stack:  # fifty of them
        owner = stack.enter_context(visit(front))
        assert echoes(owner, HELLO)
        strangers = [stack.enter_context(visit(front)) for _ in range(60)]
        assert all(is_reset(each) for each in strangers[:8])
        assert echoes(owner, b"still here")
        assert echoes(strangers[-1], HELLO)
        with visit(front) as late:
            assert echoes(late, HELLO)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["plain", "proved"])
@pytest.mark.parametrize("threads", [False, True])
def test_https_is_closed_at_once_and_counted(session: Session, threads: bool, token: Secret | None) -> None:
    way = upstream_of(session, threads=threads)
    with opened(way, token) as front, visit(front) as browser:
        began = time.monotonic()
        browser.sendall(HTTPS)
        assert is_reset(browser)
        assert time.monotonic() - began < 5
        eventually(lambda: front.stats.counted().tls == 1)
        assert front.stats.counted().carried == 0


def test_a_pause_keeps_what_is_under_way_and_lets_others_wait(session: Session) -> None:
    with Target(prove_then(echo)) as target:
        front = PortForwarder(ports.bind(None))
        try:
            front.set_upstream(SessionUpstream(session, *target.address), TOKEN)
            with visit(front) as owner, visit(front) as silent:
                assert echoes(owner, HELLO)
                front.pause()
                assert echoes(owner, b"one more cell")
                with visit(front) as late:
                    late.sendall(HELLO)
                    front.set_upstream(SessionUpstream(session, *target.address), TOKEN)
                    assert late.recv(len(HELLO)) == HELLO
                assert echoes(owner, b"and another")
                silent.close()
                front.disconnect()
                assert is_reset(owner)
        finally:
            front.close()


CROWD = """
import socket, sys
crowd = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(60)]
print("here", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("threads", [False, True])
def test_who_may_open_few_files_sends_connections_away_and_keeps_some_files(
    session: Session, threads: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    way = upstream_of(session, threads=threads)
    with opened(way) as front, visit(front) as owner:
        assert echoes(owner, HELLO)
        with (tmp_path / "probe").open("w") as probe:
            lowest = probe.fileno()
        command = [sys.executable, "-c", CROWD, str(front.port)]
        with (
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as crowd,
            few_files(lowest + RESERVED_FILES + 20),
        ):
            assert crowd.stdout
            assert crowd.stdin
            assert crowd.stdout.readline() == b"here\n"
            eventually(lambda: front.stats.counted().without_a_file > 0)
            with (tmp_path / "probe").open("w"), (tmp_path / "probe").open("w"):
                assert echoes(owner, b"still here")
            crowd.stdin.close()
            eventually(lambda: front.stats.counted().waiting == 0)
            with visit(front) as late:
                assert echoes(late, HELLO)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) < 6
    assert not [record for record in caplog.records if record.exc_info]
