"""Unix sockets of the machine, through OpenSSH and asyncssh, with the fast engine and without it."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.errors import HealthError, SshError
from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.targets.local import LocalSession
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder
from tests.support.clients.ssh_client import Visitor
from tests.support.servers.asyncssh_server import running_asyncssh
from tests.support.servers.echo_servers import TOKEN, WITHIN_S, Target, echo, prove_then, read_all
from tests.support.servers.sshd import running_sshd

SLOW = ["Ciphers aes256-ctr,aes128-ctr"]


@contextlib.contextmanager
def session_of(kind: str, directory: Path) -> Iterator[Any]:
    if kind == "local":
        with LocalSession({}) as session:
            yield session
        return
    running: Any = running_asyncssh(directory) if kind == "asyncssh" else None
    running = running or running_sshd(directory, config=SLOW if kind == "openssh-ctr" else [])
    with running as server, Visitor(server, directory / "visitor").enter() as session:
        yield session


@pytest.mark.parametrize("token", [None, TOKEN], ids=["plain", "proved"])
@pytest.mark.parametrize("kind", ["openssh", "openssh-ctr", "asyncssh", "local"])
def test_a_local_port_leads_to_a_unix_socket_of_the_machine(tmp_path: Path, kind: str, token: Any) -> None:
    sent = random.Random(1).randbytes(3 << 20)  # noqa: S311  # data to compare
    with Target(prove_then(echo) if token else echo, tmp_path / "s") as target, session_of(kind, tmp_path / kind) as to:
        opened = PortForwarder(ports.bind(None))
        try:
            opened.set_upstream(SessionUpstream(to, *target.address), token)
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", opened.port), timeout=WITHIN_S) as client:
                    client.sendall(sent)
                    client.shutdown(socket.SHUT_WR)
                    assert read_all(client) == sent
        finally:
            opened.close()


@pytest.mark.parametrize("kind", ["openssh", "asyncssh", "local"])
def test_a_socket_that_is_not_there_is_refused_by_its_name(tmp_path: Path, kind: str) -> None:
    with session_of(kind, tmp_path / kind) as session:
        path = str(tmp_path / "nothing")
        with pytest.raises((HealthError, SshError), match=path) as caught:
            session.dial(path, 0, within_s=5)
        assert caught.value.code in ("not-answering", "ssh-refused")
        assert not session.closed
