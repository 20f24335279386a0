"""`up` again: a VM that runs with a healthy server is entered where it was, and one `up` joins another."""

from __future__ import annotations

import json
import socket

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.machines.gce_vm import cloud_machine
from tests.support.servers.sshd import running_sshd


def test_up_again_does_not_wait_for_the_api_and_never_talks_to_a_stranger_at_the_old_address(world: World) -> None:
    with cloud_machine(world, status="RUNNING") as vm, running_sshd(world.home / "stranger") as stranger:
        url = world.up("vm")
        world.run("down", "vm", "--keep-server")
        asked = len(vm.emulator.exchanges)
        vm.emulator.latency_s = 60

        again = world.up("vm")

        assert again.partition("?")[0] == url.partition("?")[0]
        assert again != url, "whoever listened on the port meanwhile may have been told the token"
        assert len(vm.emulator.exchanges) == asked, "it was not waited for"
        page = Page(again)
        assert page.run(page.start_kernel(), "print(6*7)") == "42"
        vm.emulator.latency_s = 0
        world.run("down", "vm", "--keep-server", "--force")

        path = world.state / "vm.json"
        document = json.loads(path.read_text())
        document["runtime"]["instance"]["port"] = stranger.port
        path.write_text(json.dumps(document))
        world.up("vm")
        assert stranger.logins() == 0
        assert "host-key-changed" in world.log("vm")
        eventually(lambda: world.file("vm")["instance"]["port"] == vm.sshd.port)


def test_an_up_that_joins_another_gets_the_port_that_it_asks_for(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = world.start("up", "here")
    eventually((world.state / "here.json").exists, what="a keeper is at work")

    url = world.up("here", "--port", str(port))

    said, _ = first.communicate(timeout=60)
    assert said.startswith("http://localhost:")
    assert first.returncode == 0
    assert f"localhost:{port}/" in url
    assert world.look("here")["local_port"] == port
