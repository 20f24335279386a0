"""Every way to a machine, to be let in, and to know it, each with each: from `up` to a cell in a kernel."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from remote_runtime import ssh
from remote_runtime.state import store
from tests.support.clients.page import Page
from tests.support.environment.world import World
from tests.support.machines.gce_login_vm import NAME, Way, at_home, doorway
from tests.support.machines.login_methods import KNOWN_BY, LET_IN, know, let_in_by
from tests.support.servers.sshd import Sshd, running_sshd


@pytest.fixture(scope="module")
def machine() -> Iterator[Sshd]:
    """Its Jupyter, and that one's kernel, go on from one way to the next: the ways differ before they come there."""
    with tempfile.TemporaryDirectory(prefix="rr-ways-") as folder, running_sshd(Path(folder)) as sshd:
        yield sshd


CONNECT = get_args(Way)
# A Latin square: every two of them meet once, which takes 12 of the 36.
WAYS = [
    (connect, let_in, KNOWN_BY[(row + column) % len(KNOWN_BY)])
    for row, connect in enumerate(CONNECT)
    for column, let_in in enumerate(LET_IN)
]


def test_every_two_meet() -> None:
    for first, second in itertools.combinations(range(3), 2):
        every = itertools.product((CONNECT, LET_IN, KNOWN_BY)[first], (CONNECT, LET_IN, KNOWN_BY)[second])
        assert {(way[first], way[second]) for way in WAYS} == set(every)


@pytest.mark.parametrize(("connect", "let_in", "known_by"), WAYS)
def test_a_cell_is_run(world: World, machine: Sshd, connect: Way, let_in: str, known_by: str) -> None:
    with doorway(world.home / "cloud", machine, connect=connect) as door, let_in_by(let_in, door):
        at_home(world, door)
        know(door, known_by)
        store.save_last_run(door.state, "vm", store.LastRun("ways"))  # whose Jupyter it is

        page = Page(world.up("vm"))

        assert page.run(kernel_of(page), "print(6*7)") == "42"
        runtime = world.file("vm")
        assert runtime["instance"]["via"] == connect
        assert {asked.query["instance"] for asked in door.relay.requests} == ({NAME} if connect == "iap" else set())
        added = {"metadata key": ["metadata"], "OS Login": ["os-login"]}.get(let_in, [])
        assert [key["by"] for key in runtime["keys"]] == added
        pinned = ssh.pinned_keys(door.state.known_hosts, f"compute.{door.vm.id}")
        assert bool(pinned) == (known_by != "gcloud's pin"), "gcloud's pin is enough"
        assert world.run("down", "vm", "--keep-server", "--force").code == 0
        (world.state / "vm.json").unlink()  # what it keeps is the next way's, not this world's to end


def kernel_of(page: Page) -> str:
    _, kernels = page.ask("GET", "/api/kernels")
    return kernels[0]["id"] if kernels else page.start_kernel()
