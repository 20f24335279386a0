"""A runtime that no page uses wakes this computer seldom. Counts are judged, not times: a slow computer passes too."""

from __future__ import annotations

import sys

import pytest

from tests.support.environment.usage import measure
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faults import ssh_host

COUNTED_S = 10.0
# A look each second, in one thread, would be 10. A keepalive takes 5, every 15 s; a check of the path 20, every minute.
MAX_SWITCHES = 9


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the switches of each thread")
def test_a_keeper_at_rest_polls_nothing_and_notices_a_lost_link_at_once(world: World) -> None:
    with ssh_host(world) as box:
        world.up("box")
        pids = {"keeper": world.keeper("box").pid}

        def is_at_rest() -> bool:
            usage = measure(pids, COUNTED_S)["keeper"]
            sys.stdout.write(f"{usage}\n")
            return usage.switches <= MAX_SWITCHES

        eventually(is_at_rest, within_s=60, what="rest")
        assert box.cut() == 1
        eventually(lambda: world.file("box")["reconnects"] == 1, within_s=15)
