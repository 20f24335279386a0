"""The closed laptop: nobody is there any more, and the machine stops itself."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.support.environment.waiting import eventually
from tests.support.environment.world import World

# The shortest time that a profile may say, twice: another test's container that works is a use of this machine, too.
WITHIN_S = 240.0


@pytest.mark.timeout(300)
def test_a_machine_that_nobody_uses_stops_itself_with_the_keeper_killed_and_the_client_gone(world: World) -> None:
    world.profile("lonely", "version: 1\ntarget: {kind: demo}\nidle: {after: 1m, do: stop-instance}\n")
    done = world.run("up", "lonely")
    assert done.code == 0, done.err
    assert "after 1m without activity, with its own service account" in done.err
    assert world.look("lonely")["server"]["idle"]["how"] == "service-account"
    facts = json.loads((world.state / "lonely.machine" / "machine.json").read_text())
    world.keeper("lonely").kill()

    def stopped() -> bool | None:
        path = f"projects/{facts['project']}/zones/{facts['zone']}/instances/{facts['instance']}"
        with urllib.request.urlopen(facts["endpoint"] + path, timeout=10) as answer:  # noqa: S310  # http, on loopback
            return json.load(answer)["status"] == "TERMINATED" or None

    eventually(stopped, within_s=WITHIN_S)
    assert world.run("down", "lonely").code == 0
    assert world.running() == []
