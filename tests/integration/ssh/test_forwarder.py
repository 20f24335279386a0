"""The fast engine behind a local port, against a real OpenSSH server: bytes, ends, faults, keys that are renewed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from paramiko.packet import Packetizer

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import SshError
from remote_runtime.core.model import Secret
from remote_runtime.core.profile import ForwardSettings, Profile, SshTarget
from remote_runtime.lifecycle.upstream import OpenUpstream, SessionUpstream, open_upstream
from remote_runtime.ssh.session import Session
from remote_runtime.ssh.streams.client_streams import ClientStreams
from remote_runtime.state import store
from remote_runtime.targets import open_target
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder
from tests.support.clients.forwarded_port import TimedUpstream, leading_to, visit
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.waiting import eventually
from tests.support.servers.asyncssh_server import running_asyncssh
from tests.support.servers.echo_servers import TOKEN, WITHIN_S, Target, echo, prove_then, read_all
from tests.support.servers.hostile_sshd import HostileServer, open_confirmation
from tests.support.servers.sshd import Sshd, running_sshd

RESET = b"\1\0\0\0\0\0\0\0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def session(server: Sshd, tmp_path: Path) -> Iterator[Session]:
    with Visitor(server, tmp_path / "visitor").enter() as session:
        assert session.is_fast
        yield session


def exchange(opened: PortForwarder, data: bytes) -> bytes:
    """What comes back while all of it is sent."""
    with visit(opened) as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        answer = read_all(client)
        sender.join(WITHIN_S)
        return answer


@contextlib.contextmanager
def entered(server: Any, directory: Path) -> Iterator[Session]:
    """A server that is not OpenSSH's."""
    with Visitor(server, directory).enter() as session:
        assert session.is_fast
        yield session


def noise(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311  # data to compare, not a secret


# ── bytes ──


@pytest.mark.parametrize("token", [None, TOKEN], ids=["plain", "proved"])
def test_fifty_megabytes_pass_both_ways_at_once_byte_by_byte(session: Session, token: Secret | None) -> None:
    sent = noise(50 << 20)
    with leading_to(session, prove_then(echo) if token else echo, token=token) as opened:
        received = exchange(opened, sent)
    assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


def test_keys_that_the_server_renews_every_megabyte_change_no_byte(tmp_path: Path) -> None:
    sent = noise(int(os.environ.get("ENGINE_TEST_BYTES", 20 << 20)))
    with running_sshd(tmp_path, config=["RekeyLimit 1M", "LogLevel DEBUG1"]) as server:
        with Visitor(server, tmp_path / "visitor").enter() as session, leading_to(session, echo) as opened:
            received = exchange(opened, sent)
            assert session.check(5.0) > 0
        assert server.log().count("SSH2_MSG_NEWKEYS sent") > 10
    assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


def test_keys_that_we_renew_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packetizer, "REKEY_BYTES", 1 << 15)  # ours are 32 times as many
    sent = noise(20 << 20)
    with running_sshd(tmp_path, config=["LogLevel DEBUG1"]) as server:
        with Visitor(server, tmp_path / "visitor").enter() as session, leading_to(session, echo) as opened:
            received = exchange(opened, sent)
            assert session.check(5.0) > 0
        assert server.log().count("SSH2_MSG_NEWKEYS sent") > 5
    assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


def test_many_connections_at_once_do_not_mix(session: Session) -> None:
    answers: dict[int, bytes] = {}

    def talk(number: int) -> None:
        said = f"client {number} ".encode() * 10000
        answers[number] = exchange(opened, said).replace(said, b"")

    with leading_to(session, prove_then(echo), token=TOKEN) as opened:
        clients = [threading.Thread(target=talk, args=(number,)) for number in range(60)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(WITHIN_S)
    assert answers == dict.fromkeys(range(60), b"")


# ── ends ──


def test_a_client_that_has_said_everything_still_hears_the_answer(session: Session) -> None:
    def answer_at_the_end(connection: socket.socket) -> None:
        said = read_all(connection)
        connection.sendall(hashlib.sha256(said).digest() + said)

    sent = noise(5 << 20)
    with leading_to(session, answer_at_the_end) as opened:
        assert exchange(opened, sent) == hashlib.sha256(sent).digest() + sent


def test_a_target_that_has_said_everything_still_hears_the_client(session: Session) -> None:
    heard: list[bytes] = []

    def talk_first(connection: socket.socket) -> None:
        connection.sendall(b"all I say")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    with leading_to(session, talk_first) as opened:
        with visit(opened) as client:
            assert read_all(client) == b"all I say"
            client.sendall(b"one thing more")
        eventually(lambda: heard)
    assert heard == [b"one thing more"]


def test_a_client_that_breaks_off_ends_the_targets_connection(session: Session) -> None:
    ended = threading.Event()

    def wait_for_the_end(connection: socket.socket) -> None:
        connection.sendall(b"go on")
        with contextlib.suppress(ConnectionError):
            read_all(connection)
        ended.set()

    with leading_to(session, wait_for_the_end) as opened:
        client = visit(opened)
        assert client.recv(5) == b"go on"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        assert ended.wait(WITHIN_S)


def test_a_reader_that_stalls_stops_the_sender_and_nobody_else(session: Session) -> None:
    sent = 0

    def pour(connection: socket.socket) -> None:
        nonlocal sent
        connection.settimeout(1.0)
        if connection.recv(1) == b"p":
            with contextlib.suppress(TimeoutError):
                while sent < 1 << 30:
                    sent += connection.send(bytes(1 << 16))
        else:
            connection.sendall(b"here")

    before = psutil.Process().memory_info().rss
    with leading_to(session, pour) as opened, visit(opened) as stalled, visit(opened) as reader:
        stalled.sendall(b"p")
        assert stalled.recv(1)
        eventually(lambda: sent > 1 << 20)
        reader.sendall(b"q")
        assert reader.recv(4) == b"here"
    assert sent < 64 << 20
    assert psutil.Process().memory_info().rss - before < 32 << 20


def test_a_target_that_stalls_stops_the_client(session: Session) -> None:
    go_on = threading.Event()

    def read_late(connection: socket.socket) -> None:
        go_on.wait(WITHIN_S)
        connection.sendall(hashlib.sha256(read_all(connection)).digest())

    with leading_to(session, read_late) as opened, visit(opened) as client:
        sent = hashlib.sha256()
        client.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                piece = os.urandom(1 << 16)
                sent.update(piece[: client.send(piece)])
        go_on.set()
        client.settimeout(WITHIN_S)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == sent.digest()


# ── many ──


def test_a_thousand_connections_are_open_at_once(session: Session) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with leading_to(session, echo) as opened, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(visit(opened)) for _ in range(1000)]
            for number, client in enumerate(clients):
                client.sendall(b"%4d" % number)
            assert [int(client.recv(4)) for client in clients] == list(range(1000))
            assert not [thread for thread in threading.enumerate() if thread.name.endswith("-connection")]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ── faults ──


def test_a_port_where_nothing_listens_is_told_at_once(session: Session) -> None:
    with Target(echo) as target:
        address = target.address
    opened = PortForwarder(ports.bind(None))
    try:
        opened.set_upstream(SessionUpstream(session, *address), TOKEN)
        start = time.monotonic()
        with visit(opened) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 502 not-answering")
        assert time.monotonic() - start < 12
        assert opened.failure is not None
    finally:
        opened.close()


def test_a_stranger_hears_nothing_of_what_the_client_says(session: Session) -> None:
    heard: list[bytes] = []

    def pretend(connection: socket.socket) -> None:
        heard.append(connection.recv(1 << 16))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        heard.append(read_all(connection))

    with leading_to(session, pretend, token=TOKEN) as opened:
        with visit(opened) as client:
            client.sendall(b"GET /my-secret HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 502 stranger-answered")
        assert opened.failure is not None
    assert not any(b"secret" in words for words in heard)


def test_a_link_that_is_cut_resets_whoever_was_served_and_keeps_the_port(tmp_path: Path) -> None:
    with (
        running_sshd(tmp_path) as server,
        Visitor(server, tmp_path / "visitor").enter() as session,
        leading_to(session, echo) as opened,
    ):
        with visit(opened) as client:
            client.sendall(b"ping")
            assert client.recv(4) == b"ping"
            server.cut()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        eventually(lambda: session.closed)
        with visit(opened) as waiting, Visitor(server, tmp_path / "again").enter() as second, Target(echo) as target:
            waiting.sendall(b"early")
            opened.set_upstream(SessionUpstream(second, *target.address), None)
            assert waiting.recv(5) == b"early"
            opened.disconnect()


def test_holding_resets_what_is_under_way_while_the_session_goes_on(session: Session) -> None:
    with leading_to(session, prove_then(echo), token=TOKEN) as opened, visit(opened) as client:
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"
        opened.disconnect()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert session.check(5.0) > 0


def test_a_client_that_comes_after_the_link_was_lost_waits_for_the_next_one(
    server: Sshd, session: Session, tmp_path: Path
) -> None:
    with Target(echo) as target, leading_to(session, echo) as opened:
        assert exchange(opened, b"ping") == b"ping"
        session.close()
        with visit(opened) as client:
            client.sendall(b"early")
            eventually(lambda: opened.stats.counted().waiting == 1)
            with Visitor(server, tmp_path / "second").enter() as second:
                opened.set_upstream(SessionUpstream(second, *target.address), None)
                assert client.recv(5) == b"early"


# ── other servers ──


def test_asyncssh_carries_the_same_bytes_while_it_renews_keys(tmp_path: Path) -> None:
    sent = noise(10 << 20)
    with running_asyncssh(tmp_path / "server") as server, entered(server, tmp_path / "visitor") as session:
        with leading_to(session, prove_then(echo), token=TOKEN) as opened:
            assert hashlib.sha256(exchange(opened, sent)).digest() == hashlib.sha256(sent).digest()
            assert [exchange(opened, b"again %d" % number) for number in range(20)] == [
                b"again %d" % number for number in range(20)
            ]
        with Target(echo) as gone:
            pass
        nowhere = PortForwarder(ports.bind(None))
        nowhere.set_upstream(SessionUpstream(session, *gone.address), TOKEN)
        with visit(nowhere) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 502 ")
        nowhere.close()


@pytest.mark.parametrize("engine", ["auto", "fast"])
def test_a_server_without_aes_gcm_is_served_the_other_way_or_refused(
    tmp_path: Path, engine: Literal["auto", "fast"]
) -> None:
    profile = Profile("x", tmp_path, SshTarget("box"), forward=ForwardSettings(engine=engine))
    visitor_home, told = tmp_path / "visitor", list[str]()
    with running_sshd(tmp_path, config=["Ciphers aes256-ctr,aes128-ctr"]) as server, Target(echo) as target:
        visitor = Visitor(server, visitor_home)
        state = store.open_state_dir({"REMOTE_RUNTIME_HOME": str(tmp_path)})
        box = open_target(profile, state, {}, visitor.keys)
        with visitor.enter() as session:
            assert not session.is_fast

            def note(text: str) -> None:
                told.append(text)

            def open_it() -> OpenUpstream:
                deadline = Deadline(10)
                return open_upstream(box, session, target.address, ClientStreams(), progress=note, deadline=deadline)

            if engine == "fast":
                with pytest.raises(SshError, match="engine: fast"):
                    open_it()
                return
            opened = PortForwarder(ports.bind(None))
            opened.set_upstream(open_it(), None)
            assert exchange(opened, b"slowly") == b"slowly"
            assert ["AES-GCM" in line for line in told] == [True]
            opened.close()


def test_connections_of_any_size_that_end_in_any_way_do_not_disturb_each_other(tmp_path: Path) -> None:
    """A short soak: sizes, delays and ends by chance, while the server renews its keys."""
    wrong: list[str] = []

    def live(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  # any will do
        for _ in range(12):
            data = chance.randbytes(chance.choice([1, 100, 40_000, 700_000]))
            how = chance.choice(["whole", "whole", "reset", "late"])
            with visit(opened) as client:
                time.sleep(chance.choice([0, 0, 0.005]))
                if how == "reset":
                    client.send(data)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    continue
            if exchange(opened, data) != data:
                wrong.append(how)

    with (
        running_sshd(tmp_path, config=["RekeyLimit 1M"]) as server,
        entered(server, tmp_path / "visitor") as session,
        leading_to(session, echo) as opened,
    ):
        lives = [threading.Thread(target=live, args=(seed,)) for seed in range(12)]
        for thread in lives:
            thread.start()
        for thread in lives:
            thread.join(60)
        assert session.check(5.0) > 0
    assert not wrong


NUMBER = b"%(number)"
HOSTILE = {
    "data for a channel that was never opened": b"\x5e\x01\x00\xff\xff\0\0\0\1x",
    "more data than the window": b"\x5e" + NUMBER + struct.pack(">I", 32768) + bytes(32768),
    "a data message that claims more than it has": b"\x5e" + NUMBER + b"\x7f\xff\xff\xffx",
    "a message that ends in its number": b"\x5d\1",
    "a second confirmation": b"\x5b" + NUMBER + bytes(11) + b"\1",
    "more extended data than the window": b"\x5f" + NUMBER + b"\0\0\0\1\0\0\x75\x30" + bytes(30000),
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_a_server_may_not_say_ends_the_link_with_a_reason(tmp_path: Path, payload: bytes) -> None:
    def answer(server: HostileServer, kind: int, asked: bytes) -> None:
        if kind == 90:
            number, accepted = open_confirmation(asked)
            server.say(accepted)
            words = payload.replace(NUMBER, struct.pack(">I", number))
            with contextlib.suppress(Exception):  # the link may end before all is said
                for _ in range(500):
                    server.say(words)

    server = HostileServer(tmp_path / "server", answer)
    opened = PortForwarder(ports.bind(None))
    try:
        with entered(server, tmp_path / "visitor") as session:
            opened.set_upstream(SessionUpstream(session, "127.0.0.1", 1), None)
            with contextlib.suppress(ConnectionResetError), visit(opened):
                eventually(lambda: session.closed)
            eventually(lambda: session.closed)
            assert session.why_closed
            assert session.why_closed != "the server closed the connection"
    finally:
        opened.close()
        server.stop()


def test_what_comes_late_or_is_unknown_does_not_end_the_link(tmp_path: Path) -> None:
    """A server that answers a probe after its own CLOSE, as npm's ssh2 and paramiko do, and says what nobody knows."""

    def answer(server: HostileServer, kind: int, asked: bytes) -> None:
        if kind == 90:
            number, accepted = open_confirmation(asked)
            server.say(accepted)
            to = struct.pack(">I", number)
            server.say(b"\x5e" + to + struct.pack(">I", 5) + b"hello")
            for words in (
                b"\xc8nonsense",
                b"\x61" + to,
                b"\x64" + to,
                b"\x5d" + to + b"\0\0\0\5",
                b"\x60" + to,
                b"\x61" + to,
            ):
                server.say(words)

    server = HostileServer(tmp_path / "server", answer)
    opened = PortForwarder(ports.bind(None))
    try:
        with entered(server, tmp_path / "visitor") as session:
            opened.set_upstream(SessionUpstream(session, "127.0.0.1", 1), None)
            for _ in range(20):
                with visit(opened) as client:
                    assert read_all(client) == b"hello"
            assert not session.closed, session.why_closed
            assert session.run(["true"], stdin=b"", on_line=print, deadline=Deadline(10)).status == 0
    finally:
        opened.close()
        server.stop()


def test_a_server_that_never_answers_an_open_is_given_up_in_time(tmp_path: Path) -> None:
    server = HostileServer(tmp_path / "server", lambda server, kind, asked: None)
    opened = PortForwarder(ports.bind(None))
    try:
        with entered(server, tmp_path / "visitor") as session:
            opened.set_upstream(TimedUpstream(session, "127.0.0.1", 1, 0.5), TOKEN)
            with visit(opened) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert read_all(client).startswith(b"HTTP/1.1 502 not-answering")
    finally:
        opened.close()
        server.stop()


def test_no_thread_and_no_file_is_left_behind(server: Sshd, tmp_path: Path) -> None:
    with Visitor(server, tmp_path / "first").enter() as session, leading_to(session, echo) as opened:
        exchange(opened, b"x" * 1000)
    me = psutil.Process()
    threads, descriptors = threading.active_count(), me.num_fds()
    second = Visitor(server, tmp_path / "second").enter()
    with second, leading_to(second, echo) as opened, visit(opened) as left_open:
        left_open.sendall(b"x")
        assert left_open.recv(1) == b"x"
        second.close()
        with pytest.raises(ConnectionResetError):
            left_open.recv(1)
    eventually(lambda: threading.active_count() <= threads and me.num_fds() <= descriptors)
