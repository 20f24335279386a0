"""The control channel between real processes: who may speak, and what a frozen, dead or hostile end costs the other."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Listener
from pathlib import Path

import psutil
import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import Interrupted, LocalError
from remote_runtime.state import ipc
from remote_runtime.state.ipc import ControlChannel
from remote_runtime.state.store import StateDir
from tests.support.environment.waiting import eventually

KEEPER = """
import sys, threading
from pathlib import Path
from remote_runtime.state import ipc
from remote_runtime.state.store import StateDir
with ipc.serve(StateDir(Path(sys.argv[1])), "work", lambda channel: channel.send(channel.receive(20) or {})):
    print("serving", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    tmp_path.chmod(0o700)
    return StateDir(tmp_path)


@contextmanager
def keeper(state: StateDir) -> Iterator[subprocess.Popen[str]]:
    """Another process that serves the channel and gives each message back."""
    command = [sys.executable, "-c", KEEPER, str(state.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "serving\n"
            yield child
        finally:
            child.kill()


def echo(channel: ControlChannel) -> None:
    while True:
        channel.send(channel.receive(20.0) or {})


def ask(state: StateDir, message: ipc.Message, within_s: float = 10.0) -> ipc.Message | None:
    with ipc.connect(state, "work", Deadline(within_s)) as channel:
        channel.send(message)
        return channel.receive(within_s)


def test_messages_pass_both_ways_whatever_they_contain(state: StateDir) -> None:
    with ipc.serve(state, "work", echo), ipc.connect(state, "work", Deadline(10.0)) as channel:
        for message in ({}, {"text": "wörter \ud800 \x00 \n"}, {"deep": [{"a": None}] * 100}, {"long": "x" * 900_000}):
            channel.send(message)
            assert channel.receive(10.0) == message
        assert channel.receive(0.01) is None, "nothing more was said"


def test_a_client_with_a_wrong_key_is_refused_and_not_heard(state: StateDir) -> None:
    heard: list[object] = []
    with ipc.serve(state, "work", lambda channel: heard.append(channel.receive(10.0))):
        key = state.file_path("work", "key")
        right = key.read_bytes()
        key.write_bytes(b"x" * 32)
        with pytest.raises(ConnectionRefusedError):
            ask(state, {"op": "down"})
        key.write_bytes(right)
        with ipc.connect(state, "work", Deadline(10.0)) as channel:
            channel.send({"op": "status"})
            eventually(lambda: heard)
    assert heard == [{"op": "status"}]


def test_who_listens_in_a_keepers_place_without_its_key_is_refused(state: StateDir) -> None:
    state.file_path("work", "key").write_bytes(b"x" * 32)

    def impostor() -> None:
        with suppress(Exception), listener.accept() as connection:
            connection.send_bytes(b"#CHALLENGE#{sha256}" + b"0" * 20)
            connection.recv_bytes()
            connection.send_bytes(b"#WELCOME#")
            connection.recv_bytes()
            connection.send_bytes(b"I know nothing")

    with Listener(str(state.file_path("work", "sock"))) as listener:
        thread = threading.Thread(target=impostor)
        thread.start()
        with pytest.raises(ConnectionError):
            ask(state, {"op": "down"})
        thread.join(10)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, b"\x00\x00\x00\x05hello", b"\x7f\xff\xff\xff", b"\0" * 64],
)
def test_garbage_hurts_nobody_else(state: StateDir, garbage: bytes) -> None:
    with ipc.serve(state, "work", echo):
        for ends in (True, False):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(state.file_path("work", "sock")))
                with suppress(BrokenPipeError):
                    stranger.sendall(garbage)
                    if ends:
                        stranger.shutdown(socket.SHUT_WR)
                assert ask(state, {"n": 1}) == {"n": 1}


def test_messages_that_are_no_messages_end_the_conversation_only(state: StateDir) -> None:
    with ipc.serve(state, "work", echo):
        for said in (b"", b"not json", b"[]", b"5", b"\xff", b"[" * 100_000):
            key = state.file_path("work", "key").read_bytes()
            with Client(str(state.file_path("work", "sock")), authkey=key) as client:
                client.send_bytes(said)
                assert client.poll(10.0)
                with pytest.raises((EOFError, OSError)):
                    client.recv_bytes()
        assert ask(state, {"n": 1}) == {"n": 1}


def test_a_message_without_end_is_refused(state: StateDir) -> None:
    with ipc.serve(state, "work", echo), pytest.raises((EOFError, OSError)):
        ask(state, {"long": "x" * (ipc.MAX_MESSAGE_BYTES + 1)})


def test_a_frozen_keeper_is_told_in_time(state: StateDir) -> None:
    with keeper(state) as child:
        child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(LocalError) as caught:
            ask(state, {"op": "status"}, within_s=0.3)
        assert caught.value.code == "keeper-unresponsive"
        assert "down PROFILE --force" in caught.value.hint
        assert time.monotonic() - began < 20.0
        child.send_signal(signal.SIGCONT)
        assert ask(state, {"n": 1}) == {"n": 1}


def test_a_frozen_keeper_is_told_in_time_however_often_it_is_asked(state: StateDir) -> None:
    with keeper(state) as child:
        child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(LocalError, match="does not respond"):
                ask(state, {"op": "status"}, within_s=0.01)
        assert time.monotonic() - began < 60.0


def test_asking_a_frozen_keeper_can_be_called_off(state: StateDir) -> None:
    called_off = threading.Event()
    with keeper(state) as child:
        child.send_signal(signal.SIGSTOP)
        caller = threading.Timer(0.1, called_off.set)
        caller.start()
        with pytest.raises(Interrupted), ipc.connect(state, "work", Deadline(60.0, called_off)):
            pass
        caller.join()


def test_a_killed_keeper_is_no_keeper_and_the_next_one_takes_its_place(state: StateDir) -> None:
    with keeper(state) as child:
        child.kill()
        child.wait(10)
    assert state.file_path("work", "sock").exists(), "what a killed one leaves is stale"
    with pytest.raises(ConnectionError):
        ask(state, {"n": 1})
    with keeper(state):
        assert ask(state, {"n": 1}) == {"n": 1}


def test_before_a_keeper_there_is_nothing_to_connect_to(state: StateDir) -> None:
    with pytest.raises(FileNotFoundError):
        ask(state, {"n": 1})


def test_a_client_that_stops_reading_does_not_stop_the_keeper(state: StateDir) -> None:
    given_up = threading.Event()

    def pour(channel: ControlChannel) -> None:
        channel.receive(10.0)
        try:
            while True:
                channel.send({"event": "detail", "text": "x" * 1000})
        except OSError:
            began = time.monotonic()
            with pytest.raises(OSError):  # noqa: PT011  # any: the point is that it takes no time again
                channel.send({"event": "detail", "text": "after"})
            assert time.monotonic() - began < ipc.SEND_TIMEOUT_S
            given_up.set()
            raise

    with ipc.serve(state, "work", pour), ipc.connect(state, "work", Deadline(10.0)) as channel:
        channel.send({"op": "up"})
        assert given_up.wait(20.0)


def test_many_clients_at_once_each_get_their_own_answer(state: StateDir) -> None:
    answers: dict[int, ipc.Message | None] = {}

    def client(number: int) -> None:
        answers[number] = ask(state, {"n": number}, within_s=30.0)

    with keeper(state):
        clients = [threading.Thread(target=client, args=(number,)) for number in range(100)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(30)
    assert answers == {number: {"n": number} for number in range(100)}


def test_a_state_directory_with_a_long_path_works(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["a-long-name-for-a-directory"] * 6)
    deep.mkdir(parents=True, mode=0o700)
    state = StateDir(deep)
    assert len(os.fsencode(state.file_path("work", "sock"))) > 108
    with keeper(state):
        assert ask(state, {"n": 1}) == {"n": 1}
        with pytest.raises(FileNotFoundError), ipc.connect(state, "other", Deadline(1.0)):
            pass


def test_the_key_is_private_and_new_each_time(state: StateDir) -> None:
    keys = set()
    for _ in range(2):
        with ipc.serve(state, "work", echo):
            assert state.file_path("work", "key").stat().st_mode & 0o777 == 0o600
            keys.add(state.file_path("work", "key").read_bytes())
    assert len(keys) == 2
    assert {len(key) for key in keys} == {32}


def test_serving_ends_with_everything_it_began(state: StateDir) -> None:
    me = psutil.Process()
    threads, descriptors = threading.active_count(), me.num_fds()
    with ipc.serve(state, "work", echo):
        assert ask(state, {"n": 1}) == {"n": 1}
    eventually(lambda: threading.active_count() <= threads and me.num_fds() <= descriptors)
    assert not state.file_path("work", "sock").exists()
