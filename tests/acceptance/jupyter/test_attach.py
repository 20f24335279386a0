"""A person's own Jupyter on an SSH host: Colab reaches it, nothing of it is changed, and it outlives the runtime."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.servers.jupyter import JupyterServer
from tests.support.servers.sshd import Sshd, running_sshd


@pytest.fixture
def box(world: World) -> Iterator[Sshd]:
    with running_sshd(world.home / "machine") as sshd:
        ssh = world.home / ".ssh"
        ssh.mkdir(mode=0o700)
        (ssh / "known_hosts").write_text("".join(f"[127.0.0.1]:{sshd.port} {key}\n" for key in sshd.host_keys))
        (ssh / "config").write_text(
            f"Host gpu\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n  IdentityFile {sshd.key_path}\n"
        )
        yield sshd
        world.end()


def profile(world: World, port: int, more: str = "") -> None:
    attach = f"{{port: {port}{more}}}"
    world.profile("mine", f"version: 1\ntarget: {{kind: ssh, host: gpu}}\njupyter: {{attach: {attach}}}\n")


def test_ones_own_server_is_used_and_left_running(world: World, box: Sshd) -> None:
    with JupyterServer(bridge=False) as server:
        profile(world, server.port)
        done = world.run("up", "mine")
        assert done.code == 0, done.err
        assert "has no bridge" in done.err
        assert "an outage resets open connections" in done.err
        page = Page(done.out.strip())
        assert page.token == server.token
        kernel = page.start_kernel()
        assert page.run(kernel, "kept = 42; print(kept)") == "42"
        seen = world.look("mine")
        assert (seen["state"], seen["server"]["attached"], seen["server"]["pid"]) == ("ready", True, server.pid)
        assert seen["server"]["kernels"] == 1

        box.cut()
        eventually(lambda: world.look("mine")["reconnects"] == 1, what="the repair")
        assert Page(world.run("url", "mine").out.strip()).run(kernel, "print(kept)") == "42"

        report = world.run("doctor", "mine", "--json", within_s=120).document
        verdicts = {finding["check"]: finding for finding in report["findings"]}
        assert verdicts["kernel"]["verdict"] == "ok", report
        assert "bridge enable --python" in verdicts["websocket"]["hint"]
        assert world.run("logs", "mine", "--server", "--json").error["code"] == "usage"

        down = world.run("down", "mine", "--json").document["stopped"][0]
        assert down["server"] == "kept"
        assert world.run("status", "--json").document["runtimes"] == []
        assert psutil.Process(server.pid).is_running()
        assert not (box.home / ".local" / "share" / "remote-runtime").exists()
    world.run("down", "mine")


def test_a_server_that_was_restarted_is_found_again_with_its_new_token(world: World, box: Sshd) -> None:
    with JupyterServer() as before:
        profile(world, before.port)
        url = world.up("mine")
        config = {"ServerApp": {"port": before.port}}
        kept = world.look("mine")
    eventually(lambda: world.look("mine")["state"] != "ready", what="that it is gone")
    gone = ("attach-not-found", "not-answering")
    eventually(lambda: (world.look("mine")["last_error"] or {}).get("code") in gone, what="why")
    with JupyterServer(extra_config=config) as after:
        eventually(lambda: world.look("mine")["state"] == "ready", within_s=60, what="the new one")
        now = world.look("mine")
        assert now["url"] != url
        assert after.token in now["url"]
        assert (now["server"]["pid"], now["local_port"]) == (after.pid, kept["local_port"])
        page = Page(now["url"])
        assert page.run_bridged(page.start_kernel(), "print(6*7)") == "42"
        world.run("down", "mine")


def test_a_server_that_is_not_for_colab_gives_no_url_and_leaves_nothing(world: World, box: Sshd) -> None:
    with JupyterServer(bridge=False, extra_config={"ServerApp": {"allow_origin": "https://other.example"}}) as server:
        profile(world, server.port)
        done = world.run("up", "mine", "--json")
        assert (done.code, done.error["code"]) == (1, "attach-unfit")
        assert (
            "c.ServerApp.allow_origin_pat = '(?:https://colab[.]research[.]google[.]com|https://colab[.]google[.]com)$'"
            in done.error["why"]
        )
        assert psutil.Process(server.pid).is_running()
    assert world.run("status", "--json").document["runtimes"] == []
