"""The connection to the machine that commands share with the keeper, or open by themselves."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading

import pytest

from remote_runtime import profiles
from remote_runtime.commands.context import CommandContext
from remote_runtime.commands.machine import Machine, open_machine
from remote_runtime.core.callbacks import CommandResult
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import DeadlinePassed, HealthError, Interrupted, LocalError
from remote_runtime.core.profile import Profile
from remote_runtime.state import ipc
from tests.support.environment.world import World
from tests.support.servers.echo_servers import Target, echo
from tests.support.servers.sshd import Sshd

SIZE = 8 << 20


def run(
    machine: Machine, *command: str, stdin: bytes = b"", deadline: Deadline | None = None
) -> tuple[CommandResult, list[str]]:
    lines: list[str] = []
    result = machine.run(command, stdin=stdin, on_line=lines.append, deadline=deadline or Deadline(20))
    return result, lines


def exchange(machine: Machine, port: int) -> None:
    """Sends bytes to an echo server of the machine, and gets them back."""
    sent = os.urandom(SIZE)
    with machine.connect("127.0.0.1", port) as connection:

        def send() -> None:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = bytearray()
        while part := connection.recv(1 << 16):
            received += part
        sender.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


def load(world: World) -> Profile:
    return profiles.load(str(world.profiles / "box.yaml"))


def test_commands_use_the_keepers_login(world: World, sshd: Sshd, context: CommandContext) -> None:
    world.up("box")
    logins = sshd.logins()
    with open_machine(load(world), context) as machine, Target(echo) as server:
        assert machine.is_shared
        assert run(machine, "sh", "-c", "cat; echo wrong >&2; exit 7", stdin=b"one\ntwo\n") == (
            CommandResult(7, "wrong\n"),
            ["one", "two"],
        )
        exchange(machine, server.address[1])
        with pytest.raises(HealthError) as failed:
            machine.connect("127.0.0.1", 1)
        assert failed.value.code == "not-answering"
    assert sshd.logins() == logins


def test_a_program_on_the_machine_gets_input_and_ends_with_its_client(world: World, context: CommandContext) -> None:
    world.up("box")
    answers = iter([b"a\n", b"b\n", None])
    with open_machine(load(world), context) as machine:
        lines: list[str] = []
        result = machine.run(
            ["cat"], stdin=b"", on_line=lines.append, deadline=Deadline(20), reply=lambda: next(answers, None)
        )
        assert (result.status, lines) == (0, ["a", "b"])

        seen: list[str] = []
        command = ["sh", "-c", "echo $$; exec cat"]
        with pytest.raises(DeadlinePassed):
            machine.run(command, stdin=b"", on_line=seen.append, deadline=Deadline(2), reply=lambda: b"")
        gone = ["sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9; do kill -0 {seen[0]} || exit 0; sleep 1; done; exit 1"]
        assert run(machine, *gone)[0].status == 0

        cancelled = threading.Event()
        threading.Timer(0.5, cancelled.set).start()
        with pytest.raises(Interrupted):
            run(machine, "sleep", "600", deadline=Deadline(60, cancelled))


def test_without_a_runtime_a_command_logs_in_by_itself_and_leaves_nothing(
    world: World, sshd: Sshd, context: CommandContext
) -> None:
    with open_machine(load(world), context) as machine, Target(echo) as server:
        assert not machine.is_shared
        assert run(machine, "echo", "here")[1] == ["here"]
        exchange(machine, server.address[1])
    assert not world.running()


def test_another_program_of_this_computer_cannot_take_the_connection(world: World, context: CommandContext) -> None:
    world.up("box")
    with Target(echo) as server, ipc.connect(context.state, "box", Deadline(5)) as channel:
        channel.send({"op": "connect", "host": "127.0.0.1", "port": server.address[1], "within_s": 5})
        listening = channel.receive(5)
        assert listening is not None
        with socket.create_connection(("127.0.0.1", listening["port"])) as stranger:
            stranger.sendall(b"0" * len(listening["secret"]))
            stranger.settimeout(10)
            assert stranger.recv(1) == b""
        with socket.create_connection(("127.0.0.1", listening["port"])) as ours:
            ours.sendall(listening["secret"].encode() + b"mine")
            assert ours.recv(4) == b"mine"
        assert channel.receive(5) == {"event": "connected"}


def test_a_keeper_that_is_killed_is_named(world: World, context: CommandContext) -> None:
    world.up("box")
    with open_machine(load(world), context) as machine:
        keeper = world.keeper("box")
        threading.Timer(0.5, lambda: os.kill(keeper.pid, signal.SIGKILL)).start()
        with pytest.raises(LocalError) as failed:
            run(machine, "sleep", "30")
        assert failed.value.code == "keeper-died"
