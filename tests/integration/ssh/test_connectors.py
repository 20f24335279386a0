"""Addresses of a name: both families at once, and what ``AddressFamily`` says, with real sockets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.ssh.connectors import ConnectFailed, HappyEyeballs, connect_tcp
from tests.support.environment.mounts import within_mount
from tests.support.environment.network import swallowing


@pytest.fixture
def port() -> Iterator[int]:
    """A server at 127.0.0.1 whose clients at [::1] get no answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        port = server.getsockname()[1]
        with swallowing("::1", port):
            yield port


DIAL = """
import json, sys, time
from remote_runtime.ssh.connectors import ConnectFailed, AddressCache, connect_tcp
from remote_runtime.core.deadline import Deadline
reached = AddressCache()
for family in sys.argv[2:]:
    start = time.monotonic()
    try:
        with connect_tcp("dual", int(sys.argv[1]), Deadline(3), family, reached) as won:
            got = won.getpeername()[0]
    except ConnectFailed as error:
        got = error.kind
    print(json.dumps([got, time.monotonic() - start]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a file that only one process sees is Linux's")
def test_a_silent_family_costs_a_moment_and_nothing_at_a_reconnect(port: int, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("::1 dual\n127.0.0.1 dual\n")
    within = within_mount(f"--bind {hosts} /etc/hosts")
    words = [*within, sys.executable, "-c", DIAL, str(port), "any", "any", "inet", "inet6"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    first, again, inet, inet6 = [json.loads(line) for line in done.stdout.splitlines()]
    assert [got for got, _ in (first, again, inet, inet6)] == ["127.0.0.1"] * 3 + ["silent"]
    assert first[1] < 2
    assert again[1] < 0.2
    assert inet[1] < 0.2
    assert inet6[1] >= 3


def test_the_connections_that_lose_are_closed(port: int) -> None:
    addresses: list[tuple[int, Any]] = [(socket.AF_INET6, ("::1", port, 0, 0)), (socket.AF_INET, ("127.0.0.1", port))]
    with HappyEyeballs(addresses) as race:
        won, address = race.run(Deadline(10))
    with won:
        assert address == addresses[1]
    # the fixture of all tests counts the descriptors that are left


def test_what_is_said_names_the_refusal_and_how_long_was_waited(port: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    with pytest.raises(ConnectFailed) as caught, HappyEyeballs([(socket.AF_INET, ("127.0.0.1", closed))]) as race:
        race.run(Deadline(10))
    assert (caught.value.kind, caught.value.why) == ("refused", "connection refused")
    unreachable = (socket.AF_INET, ("240.0.0.1", closed))
    with (
        pytest.raises(ConnectFailed) as caught,
        HappyEyeballs([unreachable, (socket.AF_INET, ("127.0.0.1", closed))]) as race,
    ):
        race.run(Deadline(10))
    assert caught.value.kind == "refused"
    assert "240.0.0.1" in caught.value.why
    start = time.monotonic()
    with pytest.raises(ConnectFailed) as caught, HappyEyeballs([(socket.AF_INET6, ("::1", port, 0, 0))]) as race:
        race.run(Deadline(1))
    assert caught.value.kind == "silent"
    assert "no answer within 1 s" in caught.value.why
    assert time.monotonic() - start < 5


def test_a_name_without_an_address_of_the_family_says_whose_wish_that_was() -> None:
    with pytest.raises(ConnectFailed) as caught:
        connect_tcp("127.0.0.1", 9, Deadline(5), "inet6")
    assert caught.value.kind == "unknown host"
    assert "AddressFamily" in caught.value.why
