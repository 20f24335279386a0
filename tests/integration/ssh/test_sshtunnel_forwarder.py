"""The sshtunnel engine against a real OpenSSH server."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote_runtime import ssh
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import Interrupted, RemoteRuntimeError, SshError
from remote_runtime.core.profile import Algorithms
from remote_runtime.ssh.session import Session
from remote_runtime.ssh.sshtunnel_forwarder import SshtunnelForwarder
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.waiting import eventually
from tests.support.servers.sshd import Sshd, running_sshd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


@pytest.fixture
def session(visitor: Visitor) -> Iterator[Session]:
    with visitor.enter() as session:
        yield session


@pytest.fixture
def echo() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=repeat, args=(connection,), daemon=True).start()

    def repeat(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_its_login_uses_what_the_configuration_allows_and_nothing_weaker(tmp_path: Path, echo: int) -> None:
    with running_sshd(
        tmp_path, config=["Ciphers aes128-ctr,aes256-cbc,3des-cbc", "MACs hmac-md5,hmac-sha2-256"]
    ) as server:
        visitor = Visitor(server, tmp_path / "visitor")
        with visitor.enter() as session:
            with contextlib.closing(open_tunnel(visitor, session, echo)) as tunnel:
                transport = tunnel._forwarder._transport
                assert (transport.local_cipher, transport.local_mac) == ("aes128-ctr", "hmac-sha2-256")
            set_settings(session, allowed_algorithms=Algorithms(ciphers=("aes256-ctr",)))
            with pytest.raises(SshError) as caught:
                open_tunnel(visitor, session, echo)
            assert caught.value.code == "ssh-refused"


def open_tunnel(visitor: Visitor, session: Session, port: int, within_s: float = 20.0) -> SshtunnelForwarder:
    deadline = Deadline(within_s, visitor.called_off)
    return ssh.open_sshtunnel(session, "127.0.0.1", port, progress=visitor.person.tell, deadline=deadline)


def set_settings(session: Session, **changed: Any) -> None:
    session.request = replace(session.request, settings=replace(session.request.settings, **changed))


def exchange(tunnel: SshtunnelForwarder, data: bytes) -> bytes:
    stream = tunnel.dial()
    received = bytearray()
    unsent = memoryview(data)
    end = time.monotonic() + 20
    while len(received) < len(data) and time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            unsent = unsent[stream.send(unsent[: 1 << 16]) :] if unsent else unsent
        try:
            received += stream.recv(1 << 16)
        except BlockingIOError:
            time.sleep(0.001)
    stream.close()
    return bytes(received)


def test_bytes_travel_through_a_login_of_its_own(
    server: Sshd, visitor: Visitor, session: Session, echo: int, capfd: pytest.CaptureFixture[str]
) -> None:
    tunnel = open_tunnel(visitor, session, echo)
    data = os.urandom(4 << 20)
    assert exchange(tunnel, data) == data
    assert not tunnel.closed
    assert server.logins() == 2
    assert any("second time" in line for line in visitor.person.told)
    tunnel.close()
    assert tunnel.closed
    assert capfd.readouterr() == ("", "")


def test_it_listens_on_loopback_only(visitor: Visitor, session: Session, echo: int) -> None:
    before = listeners()
    tunnel = open_tunnel(visitor, session, echo)
    assert [address for address, _ in listeners() - before] == ["0100007F"]
    tunnel.close()


def test_another_host_key_is_refused(server: Sshd, visitor: Visitor, session: Session, echo: int) -> None:
    server.rotate_host_keys()
    with pytest.raises(SshError) as caught:
        open_tunnel(visitor, session, echo)
    assert caught.value.code == "host-key-changed"
    assert session.host_key.fingerprint in caught.value.why
    assert server.logins() == 1


def test_a_cut_link_closes_it(server: Sshd, visitor: Visitor, session: Session, echo: int) -> None:
    tunnel = open_tunnel(visitor, session, echo)
    server.cut()
    eventually(lambda: tunnel.closed)
    with pytest.raises(RemoteRuntimeError):
        tunnel.dial()
    tunnel.close()


def test_a_login_that_hangs_ends_at_the_deadline_or_when_called_off(
    server: Sshd, visitor: Visitor, session: Session, echo: int
) -> None:
    server.freeze()
    start = time.monotonic()
    with pytest.raises(SshError):
        open_tunnel(visitor, session, echo, within_s=0.5)
    threading.Timer(0.3, visitor.called_off.set).start()
    with pytest.raises(Interrupted):
        open_tunnel(visitor, session, echo)
    assert time.monotonic() - start < 15


def test_no_thread_is_left_behind(visitor: Visitor, session: Session, echo: int) -> None:
    before = set(threading.enumerate())
    tunnel = open_tunnel(visitor, session, echo)
    exchange(tunnel, b"x" * 1000)
    tunnel.close()
    eventually(lambda: not [t for t in set(threading.enumerate()) - before if "_carry" not in t.name])


def test_what_it_cannot_do_is_refused(visitor: Visitor, session: Session, echo: int) -> None:
    set_settings(session, proxy_jump=("gate",))
    with pytest.raises(SshError) as caught:
        open_tunnel(visitor, session, echo)
    assert caught.value.code == "ssh-config-unsupported"


def listeners() -> set[tuple[str, str]]:
    """(address, port) in hexadecimal of the TCP sockets of this process's network that listen."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    own = {os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if exists(number)}
    return {
        (line[1].split(":")[0], line[1].split(":")[1])
        for line in lines
        if line[3] == "0A" and f"socket:[{line[9]}]" in own
    }


def exists(number: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{number}")
