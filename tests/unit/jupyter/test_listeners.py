"""Who listens on a port: what Linux shows of a real socket, and the words of macOS and Windows."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote.listeners import ListeningProcess, find_listeners, parse_lsof, parse_netstat
from remote_runtime.jupyter.remote.request import BridgeFiles, LaunchSpec

LSOF = """p501
u1000
Lme
f7
n127.0.0.1:8888
f8
n[::1]:8888
p77
u0
Lroot
f3
n*:8888
"""
NETSTAT = """
Aktive Verbindungen

  Proto  Lokale Adresse         Remoteadresse          Status           PID
  TCP    0.0.0.0:135            0.0.0.0:0              ABHÖREN         1124
  TCP    127.0.0.1:8888         0.0.0.0:0              ABHÖREN         9204
  TCP    127.0.0.1:8888         127.0.0.1:50112        HERGESTELLT     9204
  TCP    [::]:8888              [::]:0                 ABHÖREN         77
"""


@pytest.fixture(params=[("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "*"), ("::1", "::1"), ("::", "::")])  # noqa: S104  a test of it
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    bound, shown = request.param
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.create_server((bound, 0), family=family) as listener:
        yield listener.getsockname()[1], shown


def test_a_listening_socket_has_its_process_user_and_address(listening: tuple[int, str]) -> None:
    port, address = listening
    assert find_listeners(port) == [ListeningProcess(os.getpid(), os.geteuid(), address)]


def test_a_port_that_is_only_bound_or_connected_has_no_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert find_listeners(client.getsockname()[1]) == []


def test_a_machine_without_lsof_is_told_so(tmp_path: Path) -> None:
    """As a Mac without it: no /proc is looked at."""
    attach = {"port": 8888, "token_file": None}
    wish = LaunchSpec("auto", "never", "~", None, {}, [], [], [], False, BridgeFiles("", "", {}), "", attach=attach)
    wanted = {**wish._asdict(), "bridge": wish.bridge._asdict()}
    del wanted["watchdog_source"]
    orders = {"marker": "", "within_s": 30, "do": "ensure", "key": "work", "wish": wanted}
    code = (
        "import json, sys; sys.platform = 'darwin'\n"
        "from remote_runtime.jupyter.remote import dispatch\n"
        "dispatch.run(json.loads(sys.stdin.read()), sys.stdout)"
    )
    environ = {"HOME": str(tmp_path), "PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(orders), env=environ, capture_output=True, text=True, check=False
    )
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert (error["code"], error["what"]) == ("program-missing", "lsof is not installed on the machine"), done.stderr


def test_lsof_names_processes_before_their_sockets() -> None:
    assert parse_lsof(LSOF) == [
        ListeningProcess(501, 1000, "127.0.0.1"),
        ListeningProcess(501, 1000, "::1"),
        ListeningProcess(77, 0, "*"),
    ]
    assert parse_lsof("") == []


def test_netstat_is_read_in_every_language_and_tells_no_user() -> None:
    assert parse_netstat(NETSTAT, 8888) == [ListeningProcess(9204, None, "127.0.0.1"), ListeningProcess(77, None, "::")]
    assert parse_netstat(NETSTAT, 88) == []
