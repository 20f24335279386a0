"""Health as a page of Colab would see it, against a real Jupyter, and against what only pretends to be one.

Also the session on this computer, which health and everything else goes through where no SSH is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from remote_runtime.core.callbacks import CommandResult
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import DeadlinePassed, HealthError, Interrupted, MachineError, RemoteRuntimeError
from remote_runtime.core.metrics import GpuLoad
from remote_runtime.core.model import Secret
from remote_runtime.core.profile import COLAB_ORIGIN
from remote_runtime.jupyter import health
from remote_runtime.targets.local import LocalSession, search_path
from tests.support.clients.page import Page
from tests.support.environment.processes import end_processes_of
from tests.support.servers.jupyter import JupyterServer, jupyter_server


@pytest.fixture(scope="module")
def jupyter() -> Iterator[JupyterServer]:
    with jupyter_server() as server:
        yield server


def door(server: JupyterServer, **changes: object) -> health.Endpoint:
    known: dict[str, object] = {"port": server.port, "token": Secret(server.token), "origins": (COLAB_ORIGIN,)}
    return health.Endpoint(**{**known, **changes})  # type: ignore[arg-type]  # a test's table of changes


def fails(at: health.Endpoint, within_s: float = 10.0) -> RemoteRuntimeError:
    with pytest.raises(RemoteRuntimeError) as caught:
        health.check(at, Deadline(within_s))
    return caught.value


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """As an identity provider of the user's can make it."""
    modules = tmp_path_factory.mktemp("modules")
    (modules / "everybody.py").write_text(
        "from jupyter_server.auth import IdentityProvider, User\n"
        "class Everybody(IdentityProvider):\n"
        "    def get_user(self, handler): return User('everybody')\n"
    )
    config = {"ServerApp": {"identity_provider_class": "everybody.Everybody"}}
    with jupyter_server(extra_config=config, python_path=(modules,)) as server:
        yield server


def test_a_server_that_lets_everybody_in_is_not_ready_and_starts_no_kernel_for_the_token(
    open_to_all: JupyterServer,
) -> None:
    with pytest.raises(HealthError) as caught:
        health.checks.needs_the_token(door(open_to_all), Deadline(10))
    assert (caught.value.code, "got 200" in caught.value.why) == ("token-not-required", True)
    with pytest.raises(HealthError) as caught:
        health.checks.may_start_kernels(door(open_to_all), COLAB_ORIGIN, Deadline(10))
    assert (caught.value.code, "POST" in caught.value.why) == ("token-refused", True)
    assert fails(door(open_to_all)).code in ("token-not-required", "token-refused")


# ── a real server ──


def test_a_server_with_the_bridge_is_ready(jupyter: JupyterServer) -> None:
    seen = health.check(door(jupyter), Deadline(20.0))
    assert seen.verdict == "ready"
    assert seen.rtt_ms is not None
    assert 0.0 < seen.rtt_ms < 10_000.0
    assert health.wait_until_ready(door(jupyter), Deadline(20.0)).verdict == "ready"
    assert health.quick_check(door(jupyter), Deadline(20.0)).verdict == "ready"


def test_a_check_leaves_nothing_in_the_servers_log_and_the_same_request_of_another_does(
    jupyter: JupyterServer,
) -> None:
    before = len(jupyter.log_text())
    health.check(door(jupyter), Deadline(20.0))
    assert "[W" not in jupyter.log_text()[before:]
    page = Page(jupyter.url, origin="https://often.example")
    page.ask("DELETE", "/api/kernels/none")
    assert "403 DELETE /api/kernels/none" in jupyter.log_text()[before:]


def test_its_kernels_are_told_with_their_state(jupyter: JupyterServer) -> None:
    page = Page(jupyter.url)
    started = page.start_kernel()
    try:
        (kernel,) = health.list_kernels(door(jupyter), Deadline(20.0))
    finally:
        page.ask("DELETE", f"/api/kernels/{started}")
    assert kernel["id"] == started
    assert "execution_state" in kernel


def test_checking_leaves_no_kernel_and_no_session(jupyter: JupyterServer) -> None:
    before = len(health.list_kernels(door(jupyter), Deadline(20.0)))
    health.check(door(jupyter), Deadline(20.0))
    assert len(health.list_kernels(door(jupyter), Deadline(20.0))) == before


def test_a_cell_runs_in_a_kernel_of_its_own_that_is_gone_afterwards(jupyter: JupyterServer) -> None:
    at, pages = door(jupyter), health.read_usage(door(jupyter), Deadline(20.0)).page_requests
    assert health.run_cell(at, Deadline(60.0)) > 0.0
    assert health.list_kernels(at, Deadline(20.0)) == []
    assert health.read_usage(at, Deadline(20.0)).page_requests == pages, "our own check is no page's"


def test_a_kernel_that_dies_is_told_and_leaves_nothing() -> None:
    with jupyter_server(extra_config={"MultiKernelManager": {"default_kernel_name": "dead"}}) as server:
        spec = server.home / "data" / "kernels" / "dead"
        spec.mkdir(parents=True)
        (spec / "kernel.json").write_text('{"argv": ["false"], "display_name": "dead", "language": "python"}')
        with pytest.raises(HealthError) as caught:
            health.run_cell(door(server), Deadline(3.0))
        assert health.list_kernels(door(server), Deadline(20.0)) == []
    assert caught.value.code == "kernel-did-not-answer"


def test_a_token_of_any_characters_runs_a_cell() -> None:
    server = JupyterServer()
    server.token = "p&ss=w#rd+ 50%/?"
    with server:
        assert health.run_cell(door(server), Deadline(60.0)) > 0.0


def test_a_page_of_another_network_is_let_in_too(jupyter: JupyterServer) -> None:
    assert health.checks.preflight(door(jupyter), COLAB_ORIGIN, Deadline(20.0))


def test_a_wrong_token_is_refused_before_it_is_sent(jupyter: JupyterServer) -> None:
    wrong = "cd" * 24
    assert fails(door(jupyter, token=Secret(wrong))).code == "stranger-answered"
    assert health.quick_check(door(jupyter, token=Secret(wrong)), Deadline(10.0)).verdict == "stranger"
    assert wrong not in jupyter.log_text()


def test_an_origin_that_the_server_does_not_know_is_refused(jupyter: JupyterServer) -> None:
    error = fails(door(jupyter, origins=("https://notebooks.example",)))
    assert error.code == "origin-refused"
    assert "notebooks.example" in error.why
    assert "colab.origins" in error.hint


def test_the_origins_of_pages_that_were_refused_are_known(jupyter: JupyterServer) -> None:
    for origin in ("https://once.example", "https://often.example", "https://often.example"):
        assert Page(jupyter.url, origin=origin).ask("GET", "/api/kernels")[0] == 403
    assert health.read_usage(door(jupyter), Deadline(20.0)).refused[:2] == (
        "https://often.example",
        "https://once.example",
    )


def test_a_server_without_the_bridge_cannot_prove_itself() -> None:
    with jupyter_server(bridge=False) as server:
        assert fails(door(server)).code == "stranger-answered"


def test_a_frozen_server_is_not_answering_in_time_and_ready_again_later(jupyter: JupyterServer) -> None:
    os.kill(jupyter.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        seen = health.quick_check(door(jupyter), Deadline(0.5))
        assert (seen.verdict, seen.rtt_ms) == ("unreachable", None)
        assert time.monotonic() - began < 20.0
    finally:
        os.kill(jupyter.pid, signal.SIGCONT)
    assert health.wait_until_ready(door(jupyter), Deadline(20.0)).verdict == "ready"


# ── what only pretends ──


def test_a_closed_port_is_not_answering_until_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    at = health.Endpoint(port, Secret("ab" * 24), (COLAB_ORIGIN,))
    began = time.monotonic()
    with pytest.raises(HealthError, match=f"local port {port}") as caught:
        health.wait_until_ready(at, Deadline(0.6))
    assert caught.value.code == "not-answering"
    assert 0.5 < time.monotonic() - began < 20.0
    assert health.quick_check(at, Deadline(1.0)).verdict == "unreachable"


def test_waiting_for_health_can_be_called_off() -> None:
    called_off = threading.Event()
    called_off.set()
    with pytest.raises(Interrupted), pretending(lambda connection: None) as at:
        health.wait_until_ready(at, Deadline(60.0, called_off))


@contextmanager
def pretending(answer: Callable[[socket.socket], None]) -> Iterator[health.Endpoint]:
    """A port of a program that treats each connection like this."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            answer(connection)

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield health.Endpoint(listener.getsockname()[1], Secret("ab" * 24), (COLAB_ORIGIN,))
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(20)


def test_a_server_that_says_nothing_is_bounded() -> None:
    def say_nothing(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            continue

    with pretending(say_nothing) as at:
        assert fails(at, within_s=0.4).code == "not-answering"


HOSTILE = [
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes",
    b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n",
    b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"hmac": "\\ud800"}',
    b"HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n" + b"[" * 16000,
    b"HTTP/1.1 502 interrupted\r\nContent-Length: 1\r\n\r\nx",
]


@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_a_stranger_is_a_stranger_whatever_it_says(said: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(said)
        connection.recv(1)

    with pretending(answer) as at:
        assert fails(at).code == "stranger-answered"
        assert health.quick_check(at, Deadline(10.0)).verdict == "stranger"


# ── after the proof, the machine is still not to be trusted ──


@contextmanager
def relay(server: JupyterServer, spoil: Callable[[bytes], bytes | Iterator[bytes] | None]) -> Iterator[health.Endpoint]:
    """A path to the server on which the proof passes, and ``spoil`` answers what comes after it in its place: with
    bytes, with pieces that come a moment apart, or (None) not at all: the request passes to the server."""

    def answer(connection: socket.socket) -> None:
        asked = connection.recv(1 << 16)
        instead = None if b"/api/remote-runtime/identity" in asked else spoil(asked)
        if isinstance(instead, bytes):
            connection.sendall(instead)
        elif instead is not None:
            for piece in instead:
                connection.sendall(piece)
                time.sleep(0.1)  # a server that drips
        else:
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as behind:
                behind.sendall(asked)
                outward = threading.Thread(target=carry, args=(connection, behind))
                outward.start()
                carry(behind, connection)
                outward.join(20)

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    with pretending(answer) as at:
        yield health.Endpoint(at.port, Secret(server.token), at.origins)


def json_answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nAccess-Control-Allow-Origin: {COLAB_ORIGIN}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


SPOILED = [
    (json_answer(b"{}", "403 Forbidden"), "token-refused"),
    (json_answer(b"{}", "401 Unauthorized"), "token-refused"),
    (json_answer(b"{}", "500 Oops"), "not-answering"),
    (json_answer(b"{}"), "jupyter-missing"),
    (json_answer(b"[" * 100_000), "jupyter-missing"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "origin-refused"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n", "not-answering"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "not-answering"),
    (b"HTTP/1.1 OK 200\r\n\r\n", "not-answering"),
    (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (5 << 20), "not-answering"),
    (json_answer(b"cut short")[:-5], "not-answering"),
]


@pytest.mark.parametrize(("answer", "code"), SPOILED, ids=range(len(SPOILED)))
def test_an_answer_that_is_not_as_it_should_be_has_its_code(jupyter: JupyterServer, answer: bytes, code: str) -> None:
    with relay(jupyter, lambda asked: answer if b"/api/kernelspecs" in asked else None) as at:
        error = fails(at)
        assert error.code == code, error
        assert jupyter.token not in json.dumps(error.as_dict())


@pytest.mark.parametrize(
    "answer",
    [json_answer(bytes(5 << 20)), b"HTTP/1.1 200 OK\r\n\r\n" + bytes(5 << 20)],
    ids=["announced", "not announced"],
)
def test_a_long_answer_is_told_as_such(jupyter: JupyterServer, answer: bytes) -> None:
    with relay(jupyter, lambda asked: answer if b"/api/kernelspecs" in asked else None) as at:
        assert "4 MiB" in fails(at).what


def test_a_kernel_that_is_not_ended_is_told(jupyter: JupyterServer) -> None:
    asked_to_end: list[str] = []

    def refuse(asked: bytes) -> bytes | None:
        if not asked.startswith(b"DELETE"):
            return None
        asked_to_end.append(asked.split(b"?", 1)[0].rsplit(b"/", 1)[1].decode())
        return json_answer(b"{}", "500 Internal Server Error")

    try:
        with relay(jupyter, refuse) as at, pytest.raises(HealthError) as caught:
            health.run_cell(at, Deadline(60.0))
    finally:
        for kernel in asked_to_end:
            Page(jupyter.url).ask("DELETE", f"/api/kernels/{kernel}")
    assert caught.value.code == "kernel-did-not-answer"
    assert asked_to_end[0] in caught.value.why


def test_what_a_gpu_does_not_tell_is_none(jupyter: JupyterServer) -> None:
    gpu = {"name": "MIG", "gpuUtilization": None, "memoryUsedBytes": None, "memoryTotalBytes": 0}
    told = {"memory": {"totalBytes": 8, "freeBytes": 4}, "gpus": [gpu]}
    answer = json_answer(b")]}'\n" + json.dumps(told).encode())
    with relay(jupyter, lambda asked: answer if b"/api/colab/resources" in asked else None) as at:
        load = health.read_load(at, Deadline(20.0))
    assert load.gpus == (GpuLoad("MIG", None, None, None),)
    assert (load.cpu, load.disk, load.kernel_memory) == (None, None, {}), "an older bridge reports none"


def test_processor_disk_temperature_and_kernels_are_read(jupyter: JupyterServer) -> None:
    page = Page(jupyter.url)
    kernel = page.start_kernel()
    here = health.Endpoint(jupyter.port, Secret(jupyter.token), (COLAB_ORIGIN,))
    health.read_load(here, Deadline(20.0))
    time.sleep(0.3)
    load = health.read_load(here, Deadline(20.0))
    assert load.cpu is not None
    assert 0.0 <= load.cpu <= 1.0
    assert load.disk is not None
    assert 0 < load.disk.used <= load.disk.total
    assert load.kernel_memory[kernel] > 0
    (listed,) = [each for each in health.read_usage(here, Deadline(20.0)).kernel_list if each.id == kernel]
    page.ask("DELETE", f"/api/kernels/{kernel}")
    assert listed.name == "python3"
    assert listed.state in ("idle", "busy", "starting")
    assert datetime.fromisoformat(listed.last_activity).tzinfo is not None


@pytest.mark.parametrize(
    "said",
    [
        b'{"memory": {"totalBytes": 1e999, "freeBytes": 0}, "gpus": []}',
        b'{"memory": {"totalBytes": 8, "freeBytes": 4}, "gpus": [{"name": "a", "gpuUtilization": 0, '
        b'"memoryUsedBytes": 1, "memoryTotalBytes": Infinity}]}',
        b'{"memory": [], "gpus": {}}',
        b"[" * 100_000,
    ],
    ids=["memory without end", "a GPU without end", "other shapes", "deep"],
)
def test_a_load_that_makes_no_sense_is_told(jupyter: JupyterServer, said: bytes) -> None:
    answer = json_answer(b")]}'\n" + said)
    with relay(jupyter, lambda asked: answer if b"/api/colab/resources" in asked else None) as at:
        with pytest.raises(HealthError) as caught:
            health.read_load(at, Deadline(20.0))
        assert caught.value.code == "not-answering"


@pytest.mark.parametrize("status", ["404 Not Found", "200 OK"])
def test_a_server_that_serves_any_page_is_refused(jupyter: JupyterServer, status: str) -> None:
    answer = json_answer(b"{}", status)
    with relay(jupyter, lambda asked: answer if asked.startswith(b"DELETE") else None) as at:
        error = fails(at)
    assert error.code == "origin-refused"
    assert health.checks.FOREIGN_ORIGIN in error.why


def test_a_server_that_drips_its_answer_is_bounded(jupyter: JupyterServer) -> None:
    def drip(asked: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        yield from [b"x"] * 600

    with relay(jupyter, drip) as at:
        began = time.monotonic()
        assert fails(at, within_s=1.0).code == "not-answering"
        assert time.monotonic() - began < 20.0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"",
    ],
)
def test_a_bridge_that_does_not_answer_is_not_loaded(jupyter: JupyterServer, answer: bytes) -> None:
    with relay(jupyter, lambda asked: answer if b"/http_over_websocket" in asked else None) as at:
        error = fails(at)
        assert isinstance(error, MachineError)
        assert error.code == "bridge-not-loaded"


# ── this computer as a machine ──


@pytest.fixture
def session() -> Iterator[LocalSession]:
    with LocalSession(search_path(os.environ)) as entered:
        yield entered


def run(
    session: LocalSession, *command: str, stdin: bytes = b"", within_s: float = 20.0, lines: list[str] | None = None
) -> CommandResult:
    heard: list[str] = [] if lines is None else lines
    return session.run(command, stdin=stdin, on_line=heard.append, deadline=Deadline(within_s))


def test_a_command_is_given_its_stdin_and_heard_line_by_line(session: LocalSession) -> None:
    lines: list[str] = []
    outcome = run(session, "sh", "-c", "cat; echo oops >&2; exit 3", stdin=b"one\ntwo\r\nlast", lines=lines)
    assert outcome == CommandResult(3, "oops\n")
    assert lines == ["one", "two", "last"]


def test_python3_is_our_own_interpreter_whatever_the_path_says() -> None:
    lines: list[str] = []
    assert run(LocalSession({}), "python3", "-c", "import sys; print(sys.executable)", lines=lines).status == 0
    assert lines == [sys.executable]


def test_a_command_that_is_not_there_is_127(session: LocalSession) -> None:
    outcome = run(session, "/nowhere/python")
    assert outcome.status == 127
    assert "/nowhere/python" in outcome.stderr


def test_a_command_that_reads_nothing_of_a_long_stdin_ends_as_it_ends(session: LocalSession) -> None:
    assert run(session, "sh", "-c", "exit 4", stdin=bytes(8 << 20)).status == 4


def test_a_line_without_end_ends_the_command(session: LocalSession) -> None:
    with pytest.raises(MachineError) as caught:
        run(session, "sh", "-c", "exec tr '\\0' x </dev/zero")
    assert caught.value.code == "machine-answer-invalid"


def test_output_without_end_ends_the_command(session: LocalSession) -> None:
    with pytest.raises(MachineError) as caught:
        run(session, "sh", "-c", "exec yes a-line-that-is-repeated-for-ever-and-ever-and-ever")
    assert caught.value.code == "machine-answer-invalid"


def test_errors_without_end_are_cut_and_cleaned(session: LocalSession) -> None:
    outcome = run(session, "sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x >&2; printf '\\033[2Jend' >&2")
    assert outcome.status == 0
    assert len(outcome.stderr) <= 8192
    assert outcome.stderr.endswith("xend")


def test_a_command_that_takes_too_long_is_ended(session: LocalSession) -> None:
    began, before = time.monotonic(), set(psutil.Process().children())
    with pytest.raises(DeadlinePassed, match="took more than"):
        run(session, "sleep", "600", within_s=0.5)
    assert time.monotonic() - began < 20.0
    assert set(psutil.Process().children()) == before


def test_a_command_can_be_called_off(session: LocalSession) -> None:
    called_off = threading.Event()
    with pytest.raises(Interrupted):
        session.run(
            ["sh", "-c", "echo started; exec sleep 600"],
            stdin=b"",
            on_line=lambda line: called_off.set(),
            deadline=Deadline(60.0, called_off),
        )


def test_a_program_that_a_command_leaves_behind_cannot_hold_us_past_the_deadline(
    session: LocalSession, own_home: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlinePassed):
        run(session, "sh", "-c", "sleep 60 & exit 0", within_s=0.2)
    assert time.monotonic() - began < 20.0
    end_processes_of(own_home)


def test_a_port_here_is_dialled_or_told_as_not_answering(session: LocalSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        stream = session.dial("127.0.0.1", port, within_s=5.0)
        stream.close()
    with pytest.raises(HealthError, match=f"127.0.0.1:{port}"):
        session.dial("127.0.0.1", port, within_s=5.0)
