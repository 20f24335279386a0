"""Two machines behind one name, with one home folder; and a machine that ends what a login leaves."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faults import ssh_host
from tests.support.machines.other_host import NAME, within_other_host
from tests.support.servers.sshd import SSHD, Sshd

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root on Linux can give a process another host name"
)


@pytest.fixture
def box(world: World) -> Iterator[Sshd]:
    with ssh_host(world) as sshd:
        yield sshd


def lead_to(box: Sshd, within: list[str]) -> None:
    """Who logs in from now on finds itself there."""
    box._command = [*within, SSHD]


def server_of(world: World) -> psutil.Process:
    return psutil.Process(world.file("box")["server"]["pid"])


def ready_again(world: World, reconnects: int) -> dict[str, Any] | None:
    """The runtime once it is ready after more than that many reconnects."""
    told = world.file("box")
    return told if told["state"] == "ready" and told["reconnects"] > reconnects else None


def test_a_server_on_another_machine_is_neither_doubled_nor_emptied_and_down_says_that_it_stays(
    world: World, box: Sshd
) -> None:
    page = Page(world.up("box"))
    kernel = page.start_kernel()
    page.run(kernel, "kept = 42")
    first = server_of(world)
    folder = Path(world.file("box")["server"]["directory"])

    lead_to(box, within_other_host(world.home))
    box.cut()
    told = eventually(lambda: (now := world.file("box"))["last_error"] and now, what="it is told")
    assert told["state"] == "reconnecting"
    assert told["last_error"]["code"] == "another-machine"
    assert NAME in told["why"]
    assert socket.gethostname() in told["why"]
    assert (folder / "config.json").exists()

    lead_to(box, [])
    eventually(lambda: world.file("box")["state"] == "ready", what="it is back where its Jupyter runs")
    assert server_of(world) == first
    assert page.run(kernel, "print(kept)") == "42"

    lead_to(box, within_other_host(world.home))
    box.cut()
    down = world.run("down", "box", "--json")
    assert (down.code, down.error["code"]) == (1, "left-behind")
    assert NAME in down.error["why"]
    assert first.is_running()
    purge = world.run("down", "box", "--purge", "--json")
    assert purge.error["code"] == "left-behind"
    assert (folder / "config.json").exists()
    again = world.run("up", "box", "--json")
    assert again.error["code"] == "another-machine"
    assert first.is_running()

    assert world.run("down", "box", "--force").code == 0
    Page(world.up("box"))  # with a folder of its own
    assert first.is_running()
    assert (folder / "config.json").exists()
    assert world.run("down", "box").code == 0
    assert first.is_running()
    first.terminate()


def test_kernels_that_ended_with_the_connection_are_told_with_the_likely_cause(world: World, box: Sshd) -> None:
    page = Page(world.up("box"))
    page.start_kernel()
    server_of(world).kill()
    box.cut()
    told = eventually(lambda: ready_again(world, 0), what="it is ready again")
    assert "KillUserProcesses" in told["last_outage"]["restarted"]
    assert "loginctl enable-linger" in world.run("status", "box").out.replace("\n", " ")
    assert page.ask("GET", "/api/kernels") == (200, [])

    server_of(world).kill()
    told = eventually(lambda: ready_again(world, told["reconnects"]), what="it is ready once more")
    assert "kernels are new" in told["last_outage"]["restarted"]
    assert "KillUserProcesses" not in told["last_outage"]["restarted"], "the connection lasted"

    world.keeper("box").kill()
    server_of(world).kill()
    assert "kernels are new" in world.run("up", "box").err
