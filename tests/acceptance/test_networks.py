"""Packets that vanish, and another network, on real interfaces: the link is found dead, and the kernel again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.lan import MACHINE, Lan, lan
from tests.support.page import Page
from tests.support.survival import INTERVALS, KEEPALIVE_S
from tests.support.world import World, eventually

# What a computer that does other things too may take longer than the keeper plans.
LOADED_S = 5.0


@pytest.fixture
def far(world: World) -> Iterator[Lan]:
    """A machine behind a router, and the profile `far` for it."""
    with lan(world.home / "far") as there:
        sshd = there.sshd
        (world.home / ".ssh").mkdir(mode=0o700)
        lines = [f"[{MACHINE}]:{sshd.port} {key}\n" for key in sshd.host_keys]
        (world.home / ".ssh" / "known_hosts").write_text("".join(lines))
        world.profile(
            "far",
            f"version: 1\ntarget: {{kind: ssh, host: {MACHINE}, port: {sshd.port}}}\n"
            f"ssh: {{user: {sshd.user}, identity_file: {sshd.key_path}, keepalive: {KEEPALIVE_S:.0f}s}}\n",
        )
        yield there
        world.end()


def measured(what: str, began: float) -> float:
    took_s = time.monotonic() - began
    sys.stdout.write(f"{what}: {took_s:.1f} s\n")
    return took_s


def works(page: Page) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            return page.ask("GET", "/api/kernels", within_s=2 * KEEPALIVE_S)[0] == 200
        except OSError:
            return False

    return asked


def test_packets_that_vanish_are_noticed_and_cost_no_kernel(world: World, far: Lan) -> None:
    page = Page(world.up("far"))
    kernel = page.start_kernel()
    page.run(kernel, "kept = 42")
    began = time.monotonic()
    far.lose_packets()
    eventually(lambda: world.file("far")["state"] != "ready", within_s=60, what="it is noticed")
    assert measured("noticed", began) <= INTERVALS * KEEPALIVE_S + LOADED_S
    began = time.monotonic()
    far.pass_packets()
    eventually(works(page), within_s=60, what="the URL works")
    assert measured("the URL works", began) <= 2 * LOADED_S
    assert page.run(kernel, "print(kept)") == "42"
    assert "nothing was heard of the machine for" in world.log("far")


def test_another_network_is_used_at_once(world: World, far: Lan) -> None:
    page = Page(world.up("far"))
    kernel = page.start_kernel()
    page.run(kernel, "kept = 42")
    for _ in range(2):
        far.leave()
        eventually(lambda: world.file("far")["state"] != "ready", within_s=60, what="it is noticed")
        time.sleep(12)  # the pauses between its tries have grown
        began = time.monotonic()
        far.join()
        eventually(works(page), within_s=60, what="the URL works")
        assert measured("the URL works in another network", began) <= 1.5 + LOADED_S
        assert page.run(kernel, "print(kept)") == "42"
    assert "the local network has changed" in world.log("far")
