"""The other kinds of machine and of tunnel: this computer, an SSH host, sshtunnel, several at once."""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.clients.page import Page
from tests.support.environment.waiting import free_port
from tests.support.environment.world import World
from tests.support.servers.sshd import Sshd, running_sshd


@pytest.fixture
def box(world: World) -> Iterator[Sshd]:
    """An SSH host, known by an alias of ~/.ssh/config."""
    with running_sshd(world.home / "machine") as sshd:
        ssh = world.home / ".ssh"
        ssh.mkdir(mode=0o700)
        lines = [f"[127.0.0.1]:{sshd.port} {key}\n" for key in sshd.host_keys]
        (ssh / "known_hosts").write_text("".join(lines))
        (ssh / "config").write_text(
            f"Host gpu\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n  IdentityFile {sshd.key_path}\n"
        )
        yield sshd
        world.end()


def a_cell_runs(url: str) -> None:
    page = Page(url)
    kernel = page.start_kernel()
    assert page.run(kernel, "print(6*7)") == "42"
    assert page.run_bridged(kernel, "print(6*7)") == "42"


def test_this_computer_is_a_runtime_without_ssh(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\njupyter: {working_dir: ~/work}\n")
    (world.home / "work").mkdir()
    a_cell_runs(world.up("here"))
    assert world.look("here")["target"] == {"kind": "local"}
    assert world.run("ssh", "here", "--", "exit 5").code == 5
    assert world.run("down", "here").code == 0
    assert world.running() == []


def test_a_server_that_is_kept_is_not_forgotten(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    url = world.up("here")
    kernel = Page(url).start_kernel()
    Page(url).run(kernel, "kept = 42")

    assert world.run("down", "here", "--keep-server", "--json").document["stopped"][0]["server"] == "kept"
    assert "is still running" in world.look("here")["why"]
    assert Page(world.up("here")).run(kernel, "print(kept)") == "42"
    world.run("down", "here", "--keep-server")
    assert world.run("down", "--all", "--json").document["stopped"][0]["server"] == "stopped"
    assert world.running() == []


def test_a_name_that_nobody_has_is_not_taken_down(world: World) -> None:
    world.profile("training", "version: 1\ntarget: {kind: local}\n")
    for command in (("down", "trainin"), ("status", "trainin"), ("url", "trainin"), ("logs", "trainin")):
        done = world.run(*command, "--json")
        assert (done.code, done.error["code"]) == (2, "profile-not-found")
        assert "training" in done.error["hint"]
    assert world.run("down", "training").code == 0


@pytest.mark.parametrize("taken", [False, True])
def test_what_a_runtime_that_was_brought_up_by_a_path_is_told_to_do_works(world: World, taken: bool) -> None:
    path = world.home / "a folder" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("version: 1\ntarget: {kind: local}\n")
    if taken:
        world.profile("mine", "version: 1\ntarget: {kind: ssh, host: elsewhere.example}\n")
    url = world.up(str(path))
    assert world.run("ssh", "mine", "--", "true").code == 0
    world.keeper("mine").kill()

    (told,) = world.run("status", "mine", "--json").document["runtimes"]
    shown, checked = world.run("status").out, world.run("doctor", "--json").out
    up, down = re.findall("`remote-runtime ([^`]*)`", told["why"])
    assert shlex.split(up) == ["up", str(path)]
    assert f"`remote-runtime {up}`" in " ".join(shown.split())
    assert f"`remote-runtime {up}`" in checked
    assert world.up(*shlex.split(up)[1:]).partition("?")[0] == url.partition("?")[0]
    world.keeper("mine").kill()
    assert world.run(*shlex.split(down)).code == 0

    refused = world.run("url", "mine", "--json").error
    (again,) = re.findall("`remote-runtime ([^`]*)`", refused["hint"])
    assert shlex.split(again) == ["up", str(path)], "though it is down"


def test_an_alias_of_the_ssh_config_is_enough(world: World, box: Sshd) -> None:
    world.profile("gpu", "version: 1\ntarget: {kind: ssh, host: gpu}\n")
    a_cell_runs(world.up("gpu"))
    assert box.logins() == 1
    done = world.run("ssh", "gpu", "--", "echo $((6 * 7)); exit 3")
    assert (done.code, done.out) == (3, "42\n")
    told = world.run("ssh", "gpu", "--json", "--", "echo $((6 * 7)); echo bad >&2; exit 3")
    assert told.code == 3
    assert told.document == {"schema": 1, "name": "gpu", "status": 3, "stdout": "42\n", "stderr": "bad\n"}
    shell = world.run("ssh", "gpu", "--json")
    assert (shell.code, shell.error["code"]) == (2, "usage")


def test_a_host_behind_another_is_reached_through_it(world: World, box: Sshd) -> None:
    world.profile("far", "version: 1\ntarget: {kind: ssh, host: gpu, jump: [gpu]}\n")
    a_cell_runs(world.up("far"))
    assert box.logins() == 2, "one for each hop"


def test_the_sshtunnel_engine_carries_cells_on_a_login_of_its_own_and_says_so(world: World, box: Sshd) -> None:
    world.profile("gpu", "version: 1\ntarget: {kind: ssh, host: gpu}\nforward: {engine: sshtunnel}\n")
    done = world.run("up", "gpu")
    assert done.code == 0, done.err
    assert "Logging in a second time, for sshtunnel" in done.err
    a_cell_runs(done.out.strip())
    assert box.logins() == 2


def test_an_extra_forward_leads_to_another_port_of_the_machine(world: World, box: Sshd) -> None:
    world.profile("gpu", "version: 1\ntarget: {kind: ssh, host: gpu}\n")
    with socket.create_server(("127.0.0.1", 0)) as service:
        remote = service.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            local = probe.getsockname()[1]
        world.up("gpu", "--port-forward", f"{local}:{remote}")
        with socket.create_connection(("127.0.0.1", local), timeout=10) as client:
            answering, _ = service.accept()
            with answering:
                client.sendall(b"ping")
                assert answering.recv(4) == b"ping"
                answering.sendall(b"pong")
                client.settimeout(10)
                assert client.recv(4) == b"pong"


def test_several_profiles_come_up_together_and_go_down_together(world: World, box: Sshd) -> None:
    for name in ("one", "two"):
        world.profile(name, "version: 1\ntarget: {kind: ssh, host: gpu}\n")
    done = world.run("up", "two", "one")
    assert done.code == 0, done.err
    assert done.err.count("Paste this URL") == 1
    urls = dict(line.split("\t") for line in done.out.splitlines())
    assert list(urls) == ["two", "one"]
    assert urls["one"] != urls["two"]
    for url in urls.values():
        assert Page(url).ask("GET", "/api/kernelspecs")[0] == 200
    down = world.run("down", "--all", "--json")
    assert {each["server"] for each in down.document["stopped"]} == {"stopped"}
    assert world.running() == []


def test_one_of_several_that_fails_does_not_keep_the_others_down(world: World, box: Sshd) -> None:
    world.profile("good", "version: 1\ntarget: {kind: ssh, host: gpu}\n")
    world.profile("bad", "version: 1\ntarget: {kind: ssh, host: gpu}\njupyter: {python: /nowhere}\n")
    done = world.run("up", "good", "bad", "--json")
    assert done.code == 1
    assert done.error["code"] == "python-missing", done.out + world.log("bad")
    assert [runtime["name"] for runtime in done.document["runtimes"]] == ["good"]


def test_a_port_that_is_taken_leaves_what_stands_untouched(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    url = world.up("here")
    here = ("127.0.0.1", urlsplit(url).port or 0)
    with socket.create_connection(here, timeout=10) as before, socket.create_server(("127.0.0.1", 0)) as taken:
        refused = world.run("up", "here", "--port", str(taken.getsockname()[1]), "--json")
        assert (refused.code, refused.error["code"]) == (1, "port-in-use")
        assert "changed" not in refused.err
        seen = world.look("here")
        assert (seen["state"], seen["reconnects"], seen["url"]) == ("ready", 0, url)
        before.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert before.recv(100).startswith(b"HTTP/1.1 "), "the same connection still leads to the machine"
        assert world.up("here") == url, "what was refused is forgotten"


def test_a_changed_local_port_moves_the_tunnel_and_keeps_the_kernels(world: World, box: Sshd) -> None:
    world.profile("gpu", "version: 1\ntarget: {kind: ssh, host: gpu}\n")
    before = Page(world.up("gpu"))
    kernel = before.start_kernel()
    before.run(kernel, "kept = 42")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    after = Page(world.up("gpu", "--port", str(port)))
    assert after.host == f"localhost:{port}"
    assert after.token != before.token, "a page that still knocks at the former port tells it whoever listens there"
    assert after.run(kernel, "print(kept)") == "42"


def test_a_purge_visits_no_machine_that_nothing_was_left_on(world: World) -> None:
    where = f"target: {{kind: ssh, host: 127.0.0.1, port: {free_port()}}}\nssh: {{user: me}}\ntimeouts: {{ssh: 1s}}\n"
    world.profile("box", "version: 1\n" + where)
    world.state.mkdir(mode=0o700)
    remembered: dict[str, object] = {"client_id": "abc", "local_port": None, "keys": [], "folder": False}
    (world.state / "box.port").write_text(json.dumps(remembered))
    done = world.run("down", "box", "--purge", "--json")
    assert (done.code, done.document["stopped"][0]["server"]) == (0, "unknown"), done.out
    assert "was not checked" in world.run("down", "box").err
    (world.state / "box.port").write_text(json.dumps({**remembered, "folder": True}))
    assert world.run("down", "box", "--purge", "--json").error["code"] == "left-behind"
