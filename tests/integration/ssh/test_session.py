"""Commands and connections over a real OpenSSH server."""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paramiko.packet import Packetizer

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import DeadlinePassed, HealthError, Interrupted, MachineError, SshError
from remote_runtime.ssh.session import Session
from remote_runtime.ssh.transport.stream import ChannelStream
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.waiting import eventually
from tests.support.servers.sshd import Sshd, running_sshd

MANY = 20 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


@pytest.fixture
def session(visitor: Visitor) -> Iterator[Session]:
    with visitor.enter() as session:
        yield session


def run(
    session: Session, *command: str, stdin: bytes = b"", within_s: float = 15.0
) -> tuple[int | None, list[str], str]:
    lines: list[str] = []
    outcome = session.run(command, stdin=stdin, on_line=lines.append, deadline=Deadline(within_s))
    return outcome.status, lines, outcome.stderr


def test_a_command_gives_its_lines_its_errors_and_its_status(session: Session) -> None:
    status, lines, errors = run(session, "sh", "-c", "echo one; printf two; echo 'oh \x1b[31mno' >&2; exit 7")
    assert (status, lines, errors) == (7, ["one", "two"], "oh no\n")


def test_words_arrive_as_they_are_whatever_they_contain(session: Session) -> None:
    words = ["$HOME", "a b", "'", '"', "*", "\\", "", "ü", "; exit 3"]
    assert run(session, "printf", "%s\\n", *words) == (0, words, "")


def test_five_megabytes_of_input_arrive_whole(session: Session) -> None:
    data = os.urandom(5 << 20)
    assert run(session, "sha256sum", stdin=data)[1] == [f"{hashlib.sha256(data).hexdigest()}  -"]


def test_input_that_nobody_reads_does_not_hang_the_command(session: Session) -> None:
    assert run(session, "true", stdin=b"x" * (5 << 20))[0] == 0


def test_a_command_ended_by_a_signal_has_the_status_a_shell_gives_it(session: Session) -> None:
    assert run(session, "sh", "-c", "kill -TERM $$")[0] == 143


def test_commands_and_connections_share_one_login(server: Sshd, session: Session, echo: int) -> None:
    before = server.logins()
    for _ in range(3):
        assert run(session, "true")[0] == 0
        session.dial("127.0.0.1", echo, within_s=5).close()
    assert server.logins() == before


def test_entering_is_one_login(server: Sshd, visitor: Visitor) -> None:
    before = server.logins()
    with visitor.enter() as session:
        assert run(session, "true")[0] == 0
    assert server.logins() == before + 1


def test_a_command_that_takes_too_long_is_abandoned(session: Session) -> None:
    start = time.monotonic()
    with pytest.raises(DeadlinePassed):
        run(session, "sleep", "60", within_s=0.3)
    assert time.monotonic() - start < 20
    assert run(session, "echo", "still")[1] == ["still"]


def test_a_command_that_is_called_off_ends_long_before_its_deadline(session: Session) -> None:
    called_off = threading.Event()
    threading.Timer(0.2, called_off.set).start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        session.run(["sleep", "60"], stdin=b"", on_line=print, deadline=Deadline(60, called_off))
    assert time.monotonic() - start < 20


def test_a_line_without_end_ends_the_command(session: Session) -> None:
    with pytest.raises(MachineError) as caught:
        run(session, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; sleep 20")
    assert caught.value.code == "machine-answer-invalid"


def test_megabytes_of_lines_end_the_command(session: Session) -> None:
    with pytest.raises(MachineError) as caught:
        run(session, "sh", "-c", "yes 0123456789012345678901234567890123456789 | head -c 40000000; sleep 20")
    assert caught.value.code == "machine-answer-invalid"
    assert run(session, "echo", "still")[1] == ["still"]


def test_endless_complaints_are_kept_to_their_end(session: Session) -> None:
    status, _, errors = run(session, "sh", "-c", "yes no | head -c 5000000 >&2; echo the end >&2; exit 2")
    assert status == 2
    assert errors.endswith("the end\n")
    assert len(errors) <= 8192


def test_a_server_that_runs_no_commands_says_so(tmp_path: Path) -> None:
    with (
        running_sshd(tmp_path, config=["MaxSessions 0"]) as server,
        Visitor(server, tmp_path / "visitor").enter() as session,
    ):
        with pytest.raises(SshError) as caught:
            run(session, "true")
        assert caught.value.code == "ssh-refused"


def test_a_command_whose_connection_is_cut_has_no_status(tmp_path: Path) -> None:
    with running_sshd(tmp_path) as server, Visitor(server, tmp_path / "visitor").enter() as session:
        lines: list[str] = []

        def cut_at_the_first(line: str) -> None:
            lines.append(line)
            server.cut()

        command = ["sh", "-c", "echo up; sleep 20"]
        outcome = session.run(command, stdin=b"", on_line=cut_at_the_first, deadline=Deadline(10))
        assert (outcome.status, lines) == (None, ["up"])
        assert session.closed
        assert session.why_closed


def test_the_round_trip_is_measured(session: Session) -> None:
    assert 0 < session.check(5) < 1000


def test_the_time_of_the_last_packet_is_known_with_the_fast_loop_too(session: Session) -> None:
    assert session.is_fast
    before = session._transport.packetizer.last_received_at
    session.check(5)
    assert session._transport.packetizer.last_received_at > before


def test_a_frozen_link_is_noticed_while_data_is_on_its_way_out(tmp_path: Path, echo: int) -> None:
    with running_sshd(tmp_path) as server, Visitor(server, tmp_path / "visitor").enter() as session:
        session.check(5)
        server.freeze()
        start = time.monotonic()
        with pytest.raises(SshError) as caught:
            session.check(0.5)
        assert caught.value.code == "ssh-unreachable"
        with pytest.raises((SshError, DeadlinePassed, HealthError)):
            session.dial("127.0.0.1", echo, within_s=0.5)
        with pytest.raises((SshError, DeadlinePassed)):
            run(session, "cat", stdin=b"x" * (30 << 20), within_s=0.5)
        session.close()
        assert time.monotonic() - start < 20


def test_a_write_that_gets_nowhere_ends_at_its_deadline(tmp_path: Path) -> None:
    with running_sshd(tmp_path) as server, Visitor(server, tmp_path / "visitor").enter() as session:
        outcome = []

        def write_much() -> None:
            try:
                run(session, "sh", "-c", "echo go; cat >/dev/null", stdin=b"x" * (60 << 20), within_s=1.5)
            except (SshError, DeadlinePassed) as error:
                outcome.append(error.code)

        writer = threading.Thread(target=write_much)
        writer.start()
        eventually(lambda: "session: command" in server.log())
        server.freeze()
        writer.join(30)
        assert not writer.is_alive()
        assert outcome


def test_no_thread_and_no_file_is_left_behind(visitor: Visitor) -> None:
    visitor.enter().close()
    threads, files = set(threading.enumerate()), open_files()
    for _ in range(3):
        with visitor.enter() as session:
            run(session, "true")
            session.check(5)
    own = {thread for thread in set(threading.enumerate()) - threads if "carry" not in thread.name}
    assert not own
    eventually(lambda: open_files() <= files + 8)  # the test's own server closes its ends a moment later


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """A server that sends back what it got; after the client's end it says ``bye`` and ends too."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                connection.sendall(data)
            connection.sendall(b"bye")

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_twenty_megabytes_come_back_whole_and_the_end_travels_alone(session: Session, echo: int) -> None:
    data = os.urandom(MANY)
    received = exchange(session.dial("127.0.0.1", echo, within_s=30), data)
    assert hashlib.sha256(received).digest() == hashlib.sha256(data + b"bye").digest()


def test_ten_connections_at_once_do_not_mix(session: Session, echo: int) -> None:
    results: dict[int, bool] = {}

    def one(number: int) -> None:
        data = bytes([number]) * (1 << 20)
        results[number] = exchange(session.dial("127.0.0.1", echo, within_s=30), data) == data + b"bye"

    threads = [threading.Thread(target=one, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == dict.fromkeys(range(10), True)


@pytest.fixture
def curt() -> Iterator[int]:
    """A server that closes each connection when the first byte comes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(1)

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_connections_that_both_ends_close_at_once_never_break_the_link(session: Session, curt: int) -> None:
    """Data or EOF that follows our CLOSE makes OpenSSH drop everything."""

    def many() -> None:
        for _ in range(40):
            stream = session.dial("127.0.0.1", curt, within_s=10)
            with contextlib.suppress(ConnectionResetError, BlockingIOError):
                for _ in range(20):
                    stream.send(b"x")
            with contextlib.suppress(ConnectionResetError):
                stream.shutdown_write()
            stream.close()

    threads = [threading.Thread(target=many) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert run(session, "echo", "still")[1] == ["still"]


def test_keys_are_renewed_under_load(tmp_path: Path, echo: int) -> None:
    with (
        running_sshd(tmp_path, config=["RekeyLimit 1M", "LogLevel DEBUG1"]) as server,
        Visitor(server, tmp_path / "visitor").enter() as session,
    ):
        data = os.urandom(8 << 20)
        assert exchange(session.dial("127.0.0.1", echo, within_s=30), data) == data + b"bye"
        assert server.log().count("SSH2_MSG_NEWKEYS sent") > 5
        assert run(session, "echo", "still")[1] == ["still"]


def test_keys_that_we_renew_ourselves_do_not_stall_the_link(
    visitor: Visitor, echo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """paramiko asks for new keys every 512 MB, and its own thread then waited for the end of what it should end."""
    monkeypatch.setattr(Packetizer, "REKEY_BYTES", 300_000)
    whole: list[bool] = []

    def many(session: Session) -> None:
        for _ in range(6):
            data = os.urandom(400_000)
            whole.append(exchange(session.dial("127.0.0.1", echo, within_s=10), data) == data + b"bye")

    with visitor.enter() as session:
        threads = [threading.Thread(target=many, args=(session,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert whole == [True] * 48


def test_a_port_where_nothing_listens_is_told_at_once(session: Session) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        start = time.monotonic()
        with pytest.raises(HealthError) as caught:
            session.dial("127.0.0.1", port, within_s=60)
    assert caught.value.code == "not-answering"
    assert "refused" in caught.value.why
    assert time.monotonic() - start < 20


def test_a_server_that_forbids_forwarding_says_so(tmp_path: Path, echo: int) -> None:
    with (
        running_sshd(tmp_path, config=["AllowTcpForwarding no"]) as server,
        Visitor(server, tmp_path / "visitor").enter() as session,
    ):
        with pytest.raises(SshError) as caught:
            session.dial("127.0.0.1", echo, within_s=10)
        assert caught.value.code == "ssh-refused"
        assert "AllowTcpForwarding" in caught.value.why


@pytest.mark.parametrize("option", ["restrict", "no-port-forwarding", 'permitopen="127.0.0.1:1"'])
def test_a_key_that_forbids_forwarding_is_told_with_its_line(tmp_path: Path, echo: int, option: str) -> None:
    with running_sshd(tmp_path) as server:
        allow_only(server, option)
        with Visitor(server, tmp_path / "visitor").enter() as session, pytest.raises(SshError) as caught:
            session.dial("127.0.0.1", echo, within_s=10)
    assert caught.value.code == "ssh-refused"
    assert f"{server.directory}/authorized_keys:1" in caught.value.why
    assert "sshd_config" not in str(caught.value) + caught.value.hint


def allow_only(server: Sshd, option: str) -> None:
    key = server.key_path.with_suffix(".pub").read_text()
    server.authorize_nobody()
    server.authorize(f"{option} {key}")


def test_a_connection_whose_link_dies_is_reset_not_ended(tmp_path: Path, echo: int) -> None:
    with running_sshd(tmp_path) as server, Visitor(server, tmp_path / "visitor").enter() as session:
        stream = session.dial("127.0.0.1", echo, within_s=5)
        server.cut()
        eventually(lambda: session.closed)
        with pytest.raises(ConnectionResetError):
            stream.recv(1)
        with pytest.raises(ConnectionResetError):
            stream.send(b"x")
        stream.close()


def exchange(stream: ChannelStream, data: bytes) -> bytes:
    """Sends ``data``, then our end, and reads until theirs: one thread, as the forwarder does it."""
    received = bytearray()
    unsent = memoryview(data)
    ended = False
    end = time.monotonic() + 30
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while time.monotonic() < end:
            try:
                while unsent:
                    unsent = unsent[stream.send(bytes(unsent[: 1 << 18])) :]
                if not ended:
                    ended = True
                    stream.shutdown_write()
            except BlockingIOError:
                pass
            selector.select(0.005 if unsent else 1.0)
            try:
                while piece := stream.recv(1 << 18):
                    received += piece
                break
            except BlockingIOError:
                continue
    stream.close()
    return bytes(received)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
