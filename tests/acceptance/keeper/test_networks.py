"""Packets that vanish, and another network, on real interfaces: the link is found dead, and open connections go on."""

from __future__ import annotations

import sys

from tests.support.environment.lan import Traveller, lan
from tests.support.environment.world import World
from tests.support.faults.link_faults import HEAD, INTERVALS, KEEPALIVE_S

# What a computer that does other things too may take longer than the keeper plans.
LOADED_S = 5.0


def test_lost_packets_and_changed_networks_cost_no_kernel_and_no_open_connection(world: World) -> None:
    with lan(world.home / "far") as far:
        traveller = Traveller(world, far)
        sys.stdout.write(f"{HEAD}\n")
        vanished, *changed = (traveller.packets_vanish(), traveller.another_network(), traveller.another_network())
        sys.stdout.write("".join(f"{row}\n" for row in (vanished, *changed)))
        for row in (vanished, *changed):
            assert row.kept
            assert row.connections is not None
            assert row.connections.kept, row.connections
        assert vanished.noticed_s is not None
        assert vanished.noticed_s <= INTERVALS * KEEPALIVE_S + LOADED_S
        assert vanished.working_s <= 2 * LOADED_S
        for row in changed:
            assert row.working_s <= 1.5 + LOADED_S, "in mid back-off it would take up to 30 s"
        log = world.log("far")
        assert "no response from the machine for" in log
        assert "the local network has changed" in log
        world.end()
