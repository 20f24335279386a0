"""Servers other than OpenSSH's: connections that end in every way, with AES-GCM and without."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.ssh.session import Session
from remote_runtime.ssh.transport.channel import TransportChannel
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder
from tests.support.clients.forwarded_port import leading_to
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.waiting import eventually
from tests.support.faults.connection_endings import wrong_endings
from tests.support.servers.asyncssh_server import running_asyncssh
from tests.support.servers.echo_servers import WITHIN_S, Target
from tests.support.servers.hostile_sshd import HostileServer, open_confirmation
from tests.support.servers.other_ssh_servers import running_dropbear, running_paramiko
from tests.support.servers.sshd import running_sshd

GCM, CTR = "aes128-gcm@openssh.com", "aes128-ctr"
SERVERS: dict[str, Callable[[Path], Any]] = {
    "OpenSSH, no AES-GCM": lambda folder: running_sshd(folder, config=[f"Ciphers {CTR}"]),
    "paramiko": lambda folder: running_paramiko(folder, cipher=GCM),
    "paramiko, no AES-GCM": lambda folder: running_paramiko(folder, cipher=CTR),
    "paramiko, no AES-GCM, CLOSE without EOF": lambda folder: running_paramiko(folder, cipher=CTR, end_of_data=False),
    "asyncssh": running_asyncssh,
    "dropbear": running_dropbear,
}


@pytest.mark.parametrize("running", SERVERS.values(), ids=SERVERS.keys())
def test_connections_end_as_they_are_ended_and_the_link_goes_on(
    tmp_path: Path, running: Callable[[Path], contextlib.AbstractContextManager[Any]]
) -> None:
    with running(tmp_path / "server") as server, Visitor(server, tmp_path / "visitor").enter() as session:
        assert wrong_endings(session, rounds=4, size=300_000) == []
        assert session.check(5.0) >= 0


def test_what_wakes_a_reader_may_be_closed_before_it_is_rung() -> None:
    channel = TransportChannel(1)
    bells = [channel.fileno()]
    bell = channel._pipe
    bell.close()
    reading, writing = os.pipe()  # which get the numbers that are free now
    try:
        bell.set_forever()
        bell.close()
        assert os.write(writing, b"x") == 1
        assert os.read(reading, 10) == b"x", bells
    finally:
        os.close(reading)
        os.close(writing)


@pytest.fixture
def without_gcm(tmp_path: Path) -> Any:
    with (
        running_sshd(tmp_path, config=[f"Ciphers {CTR}"]) as server,
        Visitor(server, tmp_path / "visitor").enter() as it,
    ):
        assert not it.is_fast
        yield it


def test_room_is_an_event_and_a_pump_that_waits_for_it_rests(without_gcm: Session) -> None:
    reads, come = threading.Event(), threading.Event()

    def slowly(connection: socket.socket) -> None:
        come.set()
        reads.wait(WITHIN_S)
        while connection.recv(1 << 20):
            pass

    with Target(slowly) as target:
        stream = without_gcm.dial(*target.address, within_s=WITHIN_S)
        with contextlib.closing(stream), selectors.DefaultSelector() as selector:
            full = False
            while not full:  # what is under way is taken on the machine until its buffers are full, too
                try:
                    stream.send(bytes(1 << 15))
                except BlockingIOError:
                    full = (bool(selector.get_map()) or selector.register(*stream.writable())) and not selector.select(
                        0.3
                    )
            reads.set()
            assert selector.select(WITHIN_S), "nobody says that there is room"
            assert stream.send(b"x") == 1

    reads.clear()
    with leading_to(without_gcm, slowly) as opened:
        with socket.create_connection(("127.0.0.1", opened.port)) as client:
            client.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                while True:
                    client.send(bytes(1 << 16))
            me = psutil.Process()
            before = me.num_ctx_switches().voluntary
            time.sleep(1.0)  # the time itself is what is measured
            assert me.num_ctx_switches().voluntary - before < 100
        reads.set()


@pytest.mark.parametrize("cipher", [GCM, CTR])
@pytest.mark.parametrize("whole", [False, True], ids=["cut", "ended before"])
def test_what_had_come_before_the_link_died_is_delivered(tmp_path: Path, cipher: str, whole: bool) -> None:
    """A client that reads slowly gets all that had come, and then a reset: never a clean end that was none."""
    numbers: list[int] = []

    def answer(server: HostileServer, kind: int, asked: bytes) -> None:
        if kind == 90:
            number, accepted = open_confirmation(asked)
            numbers.append(number)
            server.say(accepted)
        elif kind == 94:
            to = struct.pack(">I", numbers[-1])
            for _ in range(20):
                server.say(b"\x5e" + to + struct.pack(">I", 30_000) + bytes(30_000))
            if whole:
                server.say(b"\x60" + to)
                server.say(b"\x61" + to)
            server.die()

    with contextlib.ExitStack() as stack:
        server = HostileServer(tmp_path / "server", answer, ciphers=(cipher,))
        stack.callback(server.stop)
        session = stack.enter_context(Visitor(server, tmp_path / "visitor").enter())  # type: ignore[arg-type]  # it has all that is needed
        opened = PortForwarder(ports.bind(None))
        stack.callback(opened.close)
        opened.set_upstream(SessionUpstream(session, "127.0.0.1", 1), None)
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        client.settimeout(WITHIN_S)
        client.connect(("127.0.0.1", opened.port))
        client.sendall(b"x")
        came = len(client.recv(1))
        eventually(lambda: session.closed)
        ended = False
        with contextlib.suppress(ConnectionResetError):
            while more := len(client.recv(1 << 12)):
                came += more
            ended = True
        assert (came, ended or whole) == (600_000, whole)
