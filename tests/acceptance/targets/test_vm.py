"""A Compute Engine VM: the API is the emulator's, SSH is a real OpenSSH server, Jupyter is real."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import urllib.error
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.support.clients.page import Page
from tests.support.environment.processes import commands_of, has_ended
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.machines.gce_vm import CloudMachine, cloud_machine
from tests.support.price_rows import catalogue
from tests.support.servers.tcp_server import Listening


@pytest.fixture
def vm(world: World) -> Iterator[CloudMachine]:
    with cloud_machine(world) as machine:
        yield machine


def test_a_stopped_vm_is_started_and_runs_a_cell_through_one_ssh_login(world: World, vm: CloudMachine) -> None:
    vm.emulator.cloud.skus = catalogue()
    world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"] = vm.emulator.os_login_endpoint
    page = Page(world.up("vm"))

    assert vm.status == "RUNNING"
    kernel = page.start_kernel()
    assert page.run(kernel, "print(6*7)") == "42"
    assert page.run_bridged(kernel, "print(6*7)") == "42"
    runtime = world.look("vm")
    assert runtime["server"]["port"] != runtime["local_port"]
    assert vm.sshd.logins() == 1
    price = eventually(lambda: world.look("vm")["price"])
    started = datetime.fromisoformat(runtime["instance"]["running_since"])
    assert price["amount"] >= 4 * 0.022 + 16 * 0.003
    assert datetime.fromisoformat(price["since"]) == started
    assert price["estimate"] > 0
    assert "$" in world.run("status").out

    down = world.run("down", "vm", "--json")
    assert down.document["stopped"][0]["instance"] == "running", "on_down keeps the instance"
    assert vm.status == "RUNNING"
    assert [command for command in world.running() if "jupyter" in command] == []


def test_down_stops_the_instance_when_asked(world: World, vm: CloudMachine) -> None:
    world.up("vm")
    down = world.run("down", "vm", "--stop-instance", "--json")
    assert down.document["stopped"][0]["instance"] == "stopped"
    assert vm.status == "TERMINATED"


def test_a_cut_connection_heals_with_the_same_token_and_the_kernels_variables(world: World, vm: CloudMachine) -> None:
    url = world.up("vm")
    page = Page(url)
    kernel = page.start_kernel()
    page.run(kernel, "x = 6 * 7")

    assert vm.sshd.cut() == 1

    eventually(lambda: world.look("vm")["reconnects"] == 1 and world.look("vm")["state"] == "ready")
    assert world.run("url", "vm").out.strip() == url
    assert page.run(kernel, "print(x)") == "42"


def test_the_token_is_nowhere_but_in_private_files(world: World, vm: CloudMachine) -> None:
    world.profile("debug", (world.profiles / "vm.yaml").read_text() + "jupyter: {args: [--debug]}\n")
    page = Page(world.up("debug"))
    for path in ("/api/nothing", "/api/kernels/none", "/static/none.js"):
        page.ask("GET", path)
        page.ask_bridged("GET", path)
    assert page.ask("PUT", "/api/contents/x", b"not json")[0] >= 400
    stranger = Page(page.url, origin="https://evil.example")
    assert stranger.ask("POST", "/api/kernels", b"{}")[0] == 403
    assert page.ask_bridged("POST", "/api/kernels/none/interrupt")["status"] >= 400

    assert commands_of(page.token) == {}
    holders = [path for path in _files(world.home, vm.sshd.home) if page.token.encode() in path.read_bytes()]
    assert holders, "the token is kept somewhere"
    for holder in holders:
        assert stat.S_IMODE(holder.stat().st_mode) == 0o600, holder
        assert not holder.name.endswith("log"), holder


def test_a_stranger_on_the_ipv6_loopback_keeps_up_from_handing_out_the_port(world: World, vm: CloudMachine) -> None:
    with socket.socket(socket.AF_INET6) as stranger:
        stranger.bind(("::1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]

        done = world.run("up", "vm", "--port", str(port), "--json")

    assert done.code == 1
    assert done.error["code"] == "port-in-use"
    assert f"pid {os.getpid()}" in done.error["why"]
    assert vm.status == "TERMINATED", "the port is refused before anything is started"
    assert not (world.state / "vm.json").exists()


@pytest.fixture
def vm_without_sockets(world: World) -> Iterator[CloudMachine]:
    """Its SSH server leads to ports only, so that is where Jupyter listens."""
    with cloud_machine(world, sshd_config=["AllowStreamLocalForwarding no"]) as machine:
        yield machine


def test_jupyter_listens_on_a_port_where_the_ssh_server_leads_to_no_sockets(
    world: World, vm_without_sockets: CloudMachine
) -> None:
    done = world.run("up", "vm", "-v")
    assert done.err.count("Starting Jupyter with") == 1, "it is known before Jupyter is started"
    page = Page(done.out.strip())
    assert page.ask("GET", "/api/kernels") == (200, [])
    server = world.look("vm")["server"]
    assert (server["socket"], type(server["port"])) == (None, int)
    assert len([command for command in world.running() if "boot.py" in command]) == 1
    kernel = page.start_kernel()
    page.run(kernel, "kept = 42")
    vm_without_sockets.sshd.cut()
    eventually(lambda: world.look("vm")["reconnects"] == 1 and world.look("vm")["state"] == "ready")
    assert page.run(kernel, "print(kept)") == "42"


def test_jupyter_listens_where_no_other_user_of_the_machine_gets_in(world: World, vm: CloudMachine) -> None:
    page = Page(world.up("vm"))
    server = world.look("vm")["server"]
    assert server["port"] is None
    assert stat.S_IMODE(os.stat(server["socket"]).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(server["socket"])).st_mode) == 0o700
    jupyter = psutil.Process(server["pid"])
    assert [each.laddr for each in jupyter.net_connections("tcp") if each.status == psutil.CONN_LISTEN] == []
    assert world.look("vm")["forwards"][0]["remote"] == server["socket"]

    jupyter.kill()
    eventually(lambda: world.look("vm")["reconnects"] == 1 and world.look("vm")["state"] == "ready")
    assert page.ask("GET", "/api/kernels") == (200, []), "a new server, behind the same URL"
    assert world.run("url", "vm").out.strip() == page.url
    assert world.run("down", "vm").code == 0
    assert not os.path.exists(server["socket"])


def test_a_stranger_on_the_servers_port_is_told_nothing_of_the_token(
    world: World, vm_without_sockets: CloudMachine
) -> None:
    url = world.up("vm")
    server = world.look("vm")["server"]
    keeper = world.keeper("vm")
    keeper.suspend()
    jupyter = psutil.Process(server["pid"])
    jupyter.kill()
    eventually(lambda: has_ended(jupyter))
    with Stranger(server["port"]) as stranger:
        keeper.resume()
        token = Page(url).token
        assert _is_turned_away(Page(url))
        eventually(lambda: world.look("vm")["state"] in ("stranger", "ready", "reconnecting"))
        heard = stranger.heard

    assert heard, "the stranger was asked to prove itself"
    assert token.encode() not in heard


def _is_turned_away(page: Page) -> bool:
    """Either an answer of our own that there is no server, or an end of the connection without any answer."""
    try:
        status, _ = page.ask("GET", "/api/kernels")
    except (ConnectionError, urllib.error.URLError):
        return True
    return status in (502, 503)


class Stranger(Listening):
    """Another program of the machine that took Jupyter's port: hears, and answers 200 to everything."""

    def __init__(self, port: int) -> None:
        self.heard = b""
        super().__init__(eventually(lambda: _listening(port), what="a killed process's port is free in a moment"))

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(2)
            self.heard += connection.recv(65536)
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"hmac": "00000"}'[:-1])
            self.heard += connection.recv(65536)


def _listening(port: int) -> socket.socket | None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        return None
    listener.listen()
    return listener


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                yield path
