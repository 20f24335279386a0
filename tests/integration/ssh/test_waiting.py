"""Machines that boot, hang, refuse, or are given up on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.core.errors import Interrupted, SshError
from tests.support.clients.ssh_client import Visitor
from tests.support.servers.sshd import Sshd, running_sshd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


@pytest.fixture
def booting(visitor: Visitor) -> Visitor:
    visitor.instance = replace(visitor.instance, kind="gce", host_key_name="compute.12", started_from="TERMINATED")
    return visitor


def refused(visitor: Visitor, within_s: float = 20.0) -> SshError:
    with pytest.raises(SshError) as caught:
        visitor.enter(within_s=within_s).close()
    return caught.value


@pytest.mark.parametrize("hang_up", [False, True])
def test_a_booting_machine_is_waited_for_and_that_is_told(server: Sshd, booting: Visitor, *, hang_up: bool) -> None:
    server.refuse(hang_up=hang_up)
    threading.Timer(1.2, server.resume).start()
    booting.enter().close()
    assert server.logins() == 1
    assert booting.person.told[0].startswith(f"Waiting for SSH on 127.0.0.1:{server.port} (")
    assert "s of 20 s" in booting.person.told[0]


def test_a_booting_machine_is_given_up_at_the_deadline(server: Sshd, booting: Visitor) -> None:
    server.refuse()
    start = time.monotonic()
    error = refused(booting, within_s=1.5)
    assert error.code == "ssh-unreachable"
    assert "refused" in error.why
    assert 1.4 < time.monotonic() - start < 15


def test_another_machine_that_refuses_is_tried_briefly(server: Sshd, visitor: Visitor) -> None:
    server.refuse()
    start = time.monotonic()
    assert refused(visitor).code == "ssh-unreachable"
    assert time.monotonic() - start < 15


def test_a_server_that_hangs_up_is_called_refusing(server: Sshd, visitor: Visitor) -> None:
    server.refuse(hang_up=True)
    error = refused(visitor)
    assert error.code == "ssh-refused"
    assert "before it sent an SSH version" in error.why


def test_a_silent_machine_is_given_up_at_the_deadline(server: Sshd, visitor: Visitor) -> None:
    server.freeze()
    start = time.monotonic()
    error = refused(visitor, within_s=1.0)
    assert error.code == "ssh-unreachable"
    assert "sends nothing" in error.why
    assert time.monotonic() - start < 12, "sooner than paramiko gives up a greeting"


@pytest.mark.parametrize("how", ["refuse", "freeze"])
def test_waiting_that_is_called_off_ends_long_before_its_deadline(server: Sshd, booting: Visitor, how: str) -> None:
    getattr(server, how)()
    threading.Timer(0.3, booting.called_off.set).start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        booting.enter(within_s=60)
    assert time.monotonic() - start < 20


def test_a_name_that_does_not_exist_is_told_at_once(visitor: Visitor) -> None:
    visitor.instance = replace(visitor.instance, address="no-such-machine.invalid")
    error = refused(visitor)
    assert error.code == "ssh-unreachable"
    assert "resolved" in error.why


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"noise\r\n" * 2000, b"\x00\xff" * 50000, b"SSH-1.5-old\r\n"]
)
def test_what_is_no_ssh_server_is_told_so(visitor: Visitor, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(said)

        threading.Thread(target=talk, daemon=True).start()
        visitor.instance = replace(visitor.instance, port=listener.getsockname()[1])
        assert refused(visitor, within_s=5).code in ("ssh-refused", "ssh-unreachable")
        listener.shutdown(socket.SHUT_RDWR)


def test_nothing_is_printed_by_libraries(server: Sshd, visitor: Visitor, capfd: pytest.CaptureFixture[str]) -> None:
    server.refuse(hang_up=True)
    refused(visitor)
    server.resume()
    session = visitor.enter()
    server.cut()
    session.close()
    assert capfd.readouterr() == ("", "")


def test_no_thread_outlives_a_failed_attempt(server: Sshd, visitor: Visitor) -> None:
    server.freeze()
    before = set(threading.enumerate())
    refused(visitor, within_s=0.5)
    left = [thread for thread in set(threading.enumerate()) - before if "_carry" not in thread.name]
    assert left == []
