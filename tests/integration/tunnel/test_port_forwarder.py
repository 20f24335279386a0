"""The local end of the tunnel over real sockets: what a client and a target see of each other, and of its faults."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from remote_runtime.core.errors import HealthError, LocalError, SshError
from remote_runtime.core.model import Secret
from remote_runtime.core.open_files import max_connections
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder
from tests.support.clients.forwarded_port import DirectUpstream, visit
from tests.support.environment.waiting import eventually, free_port
from tests.support.servers.echo_servers import TOKEN, WITHIN_S, Handler, Target, echo, prove_then, read_all


@contextmanager
def front(*, http: bool = True) -> Iterator[PortForwarder]:
    opened = PortForwarder(ports.bind(None), http=http)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def leading_to(handle: Handler, *, token: Secret | None = None, http: bool = True) -> Iterator[PortForwarder]:
    with Target(handle) as target, front(http=http) as opened:
        opened.set_upstream(DirectUpstream(target), token)
        yield opened


# ── bytes ──


@pytest.mark.parametrize("token", [None, TOKEN], ids=["plain", "proved"])
def test_twenty_megabytes_pass_both_ways_at_once_byte_by_byte(token: Secret | None) -> None:
    sent = random.Random(7).randbytes(20 << 20)  # noqa: S311  # data to compare, not a secret
    received: list[bytes] = []
    with leading_to(prove_then(echo) if token else echo, token=token) as opened, visit(opened) as client:
        reader = threading.Thread(target=lambda: received.append(read_all(client)))
        reader.start()
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        reader.join(60)
    assert hashlib.sha256(received[0]).digest() == hashlib.sha256(sent).digest()


def test_many_connections_at_once_do_not_mix() -> None:
    answers: dict[int, bytes] = {}

    def talk(number: int) -> None:
        said = f"client {number} ".encode() * 1000
        with visit(opened, "::1" if number % 2 else "127.0.0.1") as client:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            answers[number] = read_all(client).replace(said, b"")

    with leading_to(prove_then(echo), token=TOKEN) as opened:
        clients = [threading.Thread(target=talk, args=(number,)) for number in range(40)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(WITHIN_S)
    assert answers == dict.fromkeys(range(40), b"")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_both_loopback_addresses_answer_on_the_same_port(address: str) -> None:
    with leading_to(echo) as opened, visit(opened, address) as client:
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"


# ── ends ──


def test_a_client_that_has_said_everything_still_hears_the_answer() -> None:
    def answer_at_the_end(connection: socket.socket) -> None:
        said = read_all(connection)
        connection.sendall(b"you said " + said)

    with leading_to(answer_at_the_end) as opened, visit(opened) as client:
        client.sendall(b"everything")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"you said everything"


def test_a_target_that_has_said_everything_still_hears_the_client() -> None:
    heard: list[bytes] = []

    def talk_first(connection: socket.socket) -> None:
        connection.sendall(b"all I say")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    with leading_to(talk_first) as opened:
        with visit(opened) as client:
            assert read_all(client) == b"all I say"
            client.sendall(b"one thing more")
        eventually(lambda: heard)
    assert heard == [b"one thing more"]


def test_a_reset_of_the_target_is_a_reset_for_the_client() -> None:
    def break_off(connection: socket.socket) -> None:
        connection.recv(5)
        connection.sendall(b"half an ans")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with leading_to(break_off) as opened, visit(opened) as client:
        client.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_a_client_that_breaks_off_ends_the_targets_connection() -> None:
    ended = threading.Event()

    def wait_for_the_end(connection: socket.socket) -> None:
        connection.sendall(b"go on")
        with contextlib.suppress(ConnectionError):
            read_all(connection)
        ended.set()

    with leading_to(wait_for_the_end) as opened:
        client = visit(opened)
        assert client.recv(5) == b"go on"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert ended.wait(WITHIN_S)


def test_a_reader_that_stalls_stops_the_sender_and_nobody_else() -> None:
    sent = 0

    def pour(connection: socket.socket) -> None:
        nonlocal sent
        connection.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 30:
                sent += connection.send(bytes(1 << 16))

    with leading_to(pour) as opened, visit(opened), visit(opened) as reader:
        assert reader.recv(1 << 16)
    assert sent < 1 << 29


# ── faults ──


def test_a_target_that_cannot_be_reached_is_told_to_a_browser_with_its_code() -> None:
    error = SshError("ssh-refused", "The machine refuses", "two\nlines", "`remote-runtime status`")
    with Target(echo) as target, front() as opened:
        opened.set_upstream(DirectUpstream(target, refuses=error), None)
        with visit(opened) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, _, body = read_all(client).decode().partition("\r\n\r\n")
        assert opened.failure is error
    assert head.splitlines()[0] == "HTTP/1.1 502 ssh-refused"
    assert f"Content-Length: {len(body)}" in head
    assert body.splitlines() == ["The machine refuses", "two lines", "`remote-runtime status`"]


def test_a_target_that_cannot_be_reached_is_a_reset_where_nobody_speaks_http() -> None:
    with Target(echo) as target, front(http=False) as opened:
        opened.set_upstream(DirectUpstream(target, refuses=SshError("ssh-refused", "The machine refuses")), None)
        with pytest.raises(ConnectionResetError), visit(opened) as client:  # it may come before connect() returns
            read_all(client)


def test_a_stranger_hears_nothing_of_what_the_client_says() -> None:
    heard: list[bytes] = []

    def answer_everything(connection: socket.socket) -> None:
        heard.append(connection.recv(1 << 16))
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"hmac": "0"}')
        heard.append(read_all(connection))

    with leading_to(answer_everything, token=TOKEN) as opened, visit(opened) as client:
        client.sendall(f"GET /?token={TOKEN.reveal()} HTTP/1.1\r\n\r\n".encode())
        assert read_all(client).startswith(b"HTTP/1.1 502 stranger-answered\r\n")
        assert isinstance(opened.failure, HealthError)
        eventually(lambda: len(heard) == 2)
    assert re.fullmatch(rb"GET /api/remote-runtime/identity\?nonce=[0-9a-f]{64} HTTP/1.1\r\n[^\0]*", heard[0])
    assert TOKEN.reveal().encode() not in heard[0] + heard[1]
    assert heard[1] == b""


def test_a_server_with_another_token_hears_nothing_either() -> None:
    heard: list[bytes] = []
    other = prove_then(lambda connection: heard.append(read_all(connection)), Secret("cd" * 24))
    with leading_to(other, token=TOKEN) as opened, visit(opened) as client:
        client.sendall(b"secret")
        assert read_all(client).startswith(b"HTTP/1.1 502 stranger-answered\r\n")
        eventually(lambda: heard)
    assert heard == [b""]


def test_each_connection_is_proved_anew() -> None:
    with Target(prove_then(echo)) as honest, Target(lambda connection: None) as stranger, front() as opened:
        for target, first in ((honest, b"ping"), (stranger, b"HTTP"), (honest, b"ping")):
            opened.set_upstream(DirectUpstream(target), TOKEN)
            with visit(opened) as client:
                client.sendall(b"ping")
                assert client.recv(4) == first
        assert opened.failure is None, "a way that works again is no failure"


def test_a_proof_that_another_server_gave_is_refused() -> None:
    """Whoever listens in an attached server's place can pass the question on to it, wherever it listens now."""
    with front() as opened, Target(prove_then(echo, at="127.0.0.1:9999")) as elsewhere:
        for at, first in (("127.0.0.1:8888", b"HTTP"), ("127.0.0.1:9999", b"ping")):
            opened.set_upstream(DirectUpstream(elsewhere), TOKEN, at)
            with visit(opened) as client:
                client.sendall(b"ping")
                assert client.recv(4) == first


# ── while there is no way ──


def test_holding_resets_what_is_under_way_and_serves_who_waited_when_there_is_a_way_again() -> None:
    with Target(echo) as target, front() as opened:
        opened.set_upstream(DirectUpstream(target), None)
        with visit(opened) as under_way:
            under_way.sendall(b"ping")
            assert under_way.recv(4) == b"ping"
            opened.disconnect()
            with pytest.raises(ConnectionResetError):
                under_way.recv(1)
        with visit(opened) as waiting:
            waiting.sendall(b"early")
            waiting.settimeout(0.3)
            with pytest.raises(TimeoutError):
                waiting.recv(1)
            assert target.connections == 1
            opened.set_upstream(DirectUpstream(target), None)
            waiting.settimeout(WITHIN_S)
            assert waiting.recv(5) == b"early"


def test_a_way_that_has_died_unnoticed_is_no_way_for_a_new_connection() -> None:
    with Target(echo) as target, front() as opened:
        dead = DirectUpstream(target, refuses=SshError("ssh-unreachable", "The connection was lost"))
        dead.closed = True
        opened.set_upstream(dead, None)
        with visit(opened) as waiting:
            waiting.sendall(b"early")
            waiting.settimeout(0.3)
            with pytest.raises(TimeoutError):
                waiting.recv(1)
            opened.set_upstream(DirectUpstream(target), None)
            waiting.settimeout(WITHIN_S)
            assert waiting.recv(5) == b"early"


def test_how_many_wait_is_bounded_and_those_who_wait_are_all_served() -> None:
    with Target(echo) as target, front() as opened, contextlib.ExitStack() as stack:
        waiting = []
        for _ in range(300):
            with contextlib.suppress(ConnectionResetError):
                client = stack.enter_context(visit(opened))
                client.sendall(b"x")
                waiting.append(client)
        eventually(lambda: 200 <= sum(not is_reset(client) for client in waiting) < 300)
        opened.set_upstream(DirectUpstream(target), None)
        served = 0
        for client in waiting:
            with contextlib.suppress(ConnectionResetError):
                served += client.recv(1) == b"x"
    assert 200 <= served < 300


def test_a_computer_that_starts_no_more_threads_resets_a_client_and_serves_the_next() -> None:
    with leading_to(echo) as opened:
        threading.stack_size(1 << 47)  # more than there can be: no thread starts
        try:
            with pytest.raises(ConnectionResetError), visit(opened) as client:
                client.recv(1)
        finally:
            threading.stack_size(0)
        assert opened.alive
        with visit(opened) as client:
            client.sendall(b"ping")
            assert client.recv(4) == b"ping"
    assert not opened.alive


class Left(socket.socket):
    """A client that has left before it is taken, as macOS shows it."""

    def setsockopt(self, *wanted: Any) -> None:
        if wanted[:2] == (socket.IPPROTO_TCP, socket.TCP_NODELAY):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        super().setsockopt(*wanted)


class OnMacos(socket.socket):
    def accept(self) -> tuple[socket.socket, Any]:
        client, came_from = super().accept()
        return Left(fileno=client.detach()), came_from


def test_a_client_that_has_left_already_does_not_end_the_port() -> None:
    listeners: list[socket.socket] = [OnMacos(fileno=each.detach()) for each in ports.bind(None)]
    opened = PortForwarder(listeners)
    try:
        visit(opened).close()
        with Target(echo) as target, visit(opened) as client:
            opened.set_upstream(DirectUpstream(target), None)
            client.sendall(b"ping")
            assert client.recv(4) == b"ping"
        assert opened.alive
    finally:
        opened.close()


def test_without_a_free_descriptor_a_client_waits_and_the_processor_rests() -> None:
    with leading_to(echo) as opened, socket.socket() as client:
        client.settimeout(WITHIN_S)
        with no_descriptor_left():
            client.connect(("127.0.0.1", opened.port))
            client.sendall(b"ping")
            spent_s = time.process_time()
            client.settimeout(0.6)
            with pytest.raises(TimeoutError):
                client.recv(1)
            assert time.process_time() - spent_s < 0.2
        client.settimeout(WITHIN_S)
        assert client.recv(4) == b"ping"


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_more_connections_are_taken_than_there_are_descriptors_for() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (364, hard))
    try:
        assert max_connections() == 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert max_connections() <= 1024


def test_closing_resets_everybody_and_leaves_no_thread_no_descriptor_and_a_free_port() -> None:
    me = psutil.Process()
    with Target(echo) as target:
        threads, descriptors = threading.active_count(), me.num_fds()
        opened = PortForwarder(ports.bind(None))
        opened.set_upstream(DirectUpstream(target), None)
        with visit(opened) as under_way:
            under_way.sendall(b"ping")
            assert under_way.recv(4) == b"ping"
            opened.disconnect()
            with visit(opened) as waiting:
                waiting.sendall(b"early")
                opened.close()
                with pytest.raises(ConnectionResetError):
                    waiting.recv(1)
        with pytest.raises(ConnectionRefusedError):
            visit(opened)
        eventually(lambda: threading.active_count() <= threads and me.num_fds() <= descriptors)
        for listener in ports.bind(opened.port):
            listener.close()


def is_reset(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        client.settimeout(WITHIN_S)


# ── ports ──


@contextmanager
def taken(address: str = "127.0.0.1", family: int = socket.AF_INET) -> Iterator[int]:
    with socket.socket(family) as holder:
        holder.bind((address, 0))
        holder.listen()
        yield holder.getsockname()[1]


@contextmanager
def bound(wanted: int | tuple[int, int] | None, remembered: int | None = None) -> Iterator[list[tuple[str, int]]]:
    """The addresses that ``bind`` gives."""
    listeners = ports.bind(wanted, remembered)
    try:
        yield [listener.getsockname()[:2] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def test_a_port_is_bound_on_both_loopback_addresses_and_no_other() -> None:
    port = free_port()
    with bound(port) as addresses:
        assert sorted(addresses) == [("127.0.0.1", port), ("::1", port)]


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_port_that_somebody_has_on_one_address_is_taken_and_its_holder_named(address: str, family: int) -> None:
    with taken(address, family) as port:
        with pytest.raises(LocalError) as caught:
            ports.bind(port)
        error = caught.value
        assert error.code == "port-in-use"
        assert str(port) in error.what
        assert f"(pid {os.getpid()}), on {address}" in error.why
        assert "--port" in error.hint
        other = ("::1", socket.AF_INET6) if address == "127.0.0.1" else ("127.0.0.1", socket.AF_INET)
        with socket.socket(other[1]) as probe:
            probe.bind((other[0], port))


def test_another_program_that_holds_the_port_is_named() -> None:
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        assert f"(pid {child.pid})" in ports.owner_of(port)
        child.communicate("\n", timeout=10)
    assert "just ended" in ports.owner_of(port)


@pytest.mark.parametrize("holder", ["mine", "other state", "other user"])
def test_a_background_process_that_holds_the_port_is_named_only_if_it_is_a_runtime_here(holder: str) -> None:
    if holder == "other user" and os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    command = ["/usr/bin/python3", "-c", code, "remote_runtime.keeper", "demo"]
    environ = {**os.environ, **({"REMOTE_RUNTIME_STATE_DIR": "/nowhere"} if holder == "other state" else {})}
    user = 65534 if holder == "other user" else None
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, user=user
    ) as child:
        assert child.stdout is not None
        words = ports.owner_of(int(child.stdout.readline()))
        child.communicate("\n", timeout=10)
    expected = {
        "mine": "the runtime demo",
        "other state": "another remote-runtime",
        "other user": "another user's remote-runtime",
    }
    assert words == f"{expected[holder]} (pid {child.pid}), on 127.0.0.1"


def test_a_range_gives_the_first_port_that_is_free_on_both() -> None:
    first = neighbours(3)
    with socket.socket() as one, socket.socket(socket.AF_INET6) as two:
        one.bind(("127.0.0.1", first))
        one.listen()
        two.bind(("::1", first + 1))
        two.listen()
        with bound((first, first + 2)) as addresses:
            assert {port for _, port in addresses} == {first + 2}
            with pytest.raises(LocalError, match=f"from {first} to {first + 2} are in use") as caught:
                ports.bind((first, first + 2))
    assert caught.value.code == "port-in-use"
    assert f"pid {os.getpid()}" in caught.value.why


def test_the_remembered_port_is_tried_first_where_it_fits() -> None:
    first = neighbours(3)
    with bound((first, first + 2), remembered=first + 1) as addresses:
        assert {port for _, port in addresses} == {first + 1}
    with bound((first, first + 2), remembered=first + 500) as addresses:
        assert {port for _, port in addresses} == {first}
    with bound(first, remembered=first + 1) as addresses:
        assert {port for _, port in addresses} == {first}
    with bound(None, remembered=first + 1) as addresses:
        assert {port for _, port in addresses} == {first + 1}


def test_a_remembered_port_that_is_taken_gives_way_to_any_other() -> None:
    with taken() as port, bound(None, remembered=port) as addresses:
        assert {other for _, other in addresses} != {port}
        assert len({other for _, other in addresses}) == 1


def test_ports_of_one_that_fails_are_free_again() -> None:
    me = psutil.Process()
    descriptors = me.num_fds()
    with taken() as port:
        for _ in range(5):
            with pytest.raises(LocalError):
                ports.bind(port)
    assert me.num_fds() <= descriptors


def neighbours(count: int) -> int:
    """The first of so many ports in a row that are free now."""
    for _ in range(100):
        first = free_port()
        try:
            with contextlib.ExitStack() as stack:
                for port in range(first, min(first + count, 65536)):
                    stack.enter_context(bound(port))
        except LocalError:
            continue
        return first
    raise AssertionError("no free ports in a row")
