"""`down` ends no kernel at work unless somebody says so, whether or not the keeper can be asked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil
import pytest

from tests.support.clients.page import Page
from tests.support.clients.terminal_user import at_a_terminal
from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, World


@pytest.fixture
def server(world: World) -> Iterator[psutil.Process]:
    """Jupyter of the runtime `here`, with a cell that runs for long."""
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    page = Page(world.up("here"))
    kernel, begun = page.start_kernel(), world.home / "begun"
    code = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(600)"

    def work() -> None:
        with contextlib.suppress(Exception):  # how a cell ends whose kernel is ended is not what is tested
            page.run(kernel, code)

    cell = threading.Thread(target=work)
    cell.start()
    eventually(begun.exists)
    server = psutil.Process(int(world.file("here")["server"]["pid"]))
    yield server
    assert world.run("down", "here", "--force").code == 0
    cell.join(30)
    assert world.running() == []


def test_a_dead_keeper_does_not_end_busy_kernels(world: World, server: psutil.Process) -> None:
    world.keeper("here").kill()
    refused = world.run("down", "here", "--json")
    assert (refused.code, refused.error["code"], refused.error["why"]) == (1, "busy", "a kernel is busy")
    assert "--force" in refused.error["hint"]
    with at_a_terminal([*COMMAND, "down", "here"], world.environ) as person:
        person.sees("A kernel is busy on here. Stop it anyway? [y/N]")
        person.types("n")
        assert person.waits() == 1
    assert server.is_running()
    with at_a_terminal([*COMMAND, "down", "here"], world.environ) as person:
        person.sees("[y/N]")
        person.types("y")
        assert person.waits() == 0
    assert [command for command in world.running() if "boot.py" in command] == []


def test_a_frozen_jupyter_may_be_at_work(world: World, server: psutil.Process) -> None:
    server.suspend()
    refused = world.run("down", "here", "--json")
    assert (refused.code, refused.error["code"]) == (1, "busy")
    assert "does not respond" in refused.error["why"]
    server.resume()
    eventually(lambda: world.look("here")["state"] == "ready", what="it goes on as before")
    assert world.run("down", "here", "--json").error["why"] == "a kernel is busy"
