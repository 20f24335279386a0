"""What a person sees of an outage: how many connections wait, that they continue, and why one could not."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.clients.page import Page, execute
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.machines.gce_vm import cloud_machine


def test_the_connections_that_wait_are_counted_and_the_reason_of_a_reset_is_shown(world: World, tmp_path: Path) -> None:
    with cloud_machine(world) as machine:
        command = world.start("up", "vm", "--foreground")
        assert command.stdout is not None
        page = Page(command.stdout.readline().strip())
        with page.channels(page.start_kernel()) as channels:
            execute(channels, "kept = 42")
            machine.sshd.refuse()
            machine.sshd.cut()
            eventually(lambda: (world.look("vm")["streams"] or {}).get("waiting") == 1, what="the connection waits")
            assert "1 open connection is waiting" in world.run("status").out
            machine.sshd.resume()
            assert execute(channels, "print(kept)") == "42"
            eventually(lambda: world.look("vm")["state"] == "ready", what="it is ready again")
            psutil.Process(world.file("vm")["server"]["pid"]).kill()
            with pytest.raises(ConnectionClosed):
                execute(channels, "print(kept)")
        eventually(lambda: world.look("vm")["state"] == "ready", what="Jupyter is there again")
        streams = world.look("vm")["streams"]
        assert (streams["waiting"], streams["reset"]) == (0, 1)
        assert "1 connection was reset" in world.run("status").out
        assert world.run("down", "vm").code == 0
        _, shown = command.communicate(timeout=30)
    assert "Reconnecting: " in shown
    assert "Reconnected after " in shown
    assert "1 open connection was reset: Jupyter was restarted" in shown
