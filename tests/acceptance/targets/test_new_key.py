"""The key that `up` puts on a VM: from there to a cell in Colab's page, renewed, and gone with `down --purge`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from remote_runtime.compute.login import metadata_keys
from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.machines.gce_login_vm import Doorway, at_home, doorway

DAY_S = 86400.0


@pytest.fixture
def door(world: World) -> Iterator[Doorway]:
    with doorway(world.home / "cloud") as door:
        at_home(world, door)
        yield door
        world.end()


def test_a_key_comes_with_up_and_goes_with_purge_after_the_keeper_died(world: World, door: Doorway) -> None:
    before = dict(door.vm.metadata)

    page = Page(world.up("vm"))

    assert page.run(page.start_kernel(), "print(6*7)") == "42"
    assert "google-ssh" in door.vm.metadata["ssh-keys"]
    assert len(world.file("vm")["keys"]) == 1
    world.keeper("vm").kill()
    done = world.run("down", "vm", "--purge", "--json")
    assert done.code == 0, done.err
    assert door.vm.metadata == before
    assert not (door.sshd.home / ".local" / "share" / "remote-runtime").exists()


@pytest.mark.parametrize("more", [(), ("--purge",)])
def test_the_key_of_a_server_that_was_forgotten_goes_with_it(
    world: World, door: Doorway, more: tuple[str, ...]
) -> None:
    before = dict(door.vm.metadata)
    world.up("vm")
    world.keeper("vm").kill()
    (world.state / "vm.json").unlink()
    done = world.run("down", "vm", "--orphans", "--force", "--json", *more)
    assert done.code == 0, done.err + done.out
    assert len(done.document["stopped"][0]["orphans"]) == 1
    assert door.vm.metadata == before
    assert world.run("down", "vm", "--orphans", "--force").code == 0
    assert door.vm.metadata == before, "the key to look for others was put there only to look"


def test_a_purge_takes_a_key_that_only_an_earlier_down_knew_of(world: World, door: Doorway) -> None:
    before = dict(door.vm.metadata)
    world.up("vm")
    world.keeper("vm").kill()
    path = world.state / "vm.json"
    document = json.loads(path.read_text())
    document["runtime"]["keys"] = []
    path.write_text(json.dumps(document))
    done = world.run("down", "vm", "--purge", "--json")
    assert done.code == 0, done.err + done.out
    assert door.vm.metadata == before


def test_an_up_that_enters_where_it_was_renews_the_key_and_a_purge_after_a_plain_down_takes_it(
    world: World, door: Doorway
) -> None:
    before = dict(door.vm.metadata)
    world.up("vm")
    assert world.run("down", "vm", "--keep-server").code == 0
    assert expires_in_s(door) < DAY_S
    at_home(world, door, ", key_lifetime: 3d")

    up = world.run("up", "vm", "-v")

    assert "at its last address" in up.err
    eventually(lambda: expires_in_s(door) > 2 * DAY_S, what="the key is renewed")
    eventually(lambda: world.file("vm")["instance"]["access"]["until"] - time.time() > 2 * DAY_S)
    assert len(world.file("vm")["keys"]) == 1, "the new one in the place of the old"

    assert world.run("down", "vm").code == 0
    assert not (world.state / "vm.json").exists()
    assert expires_in_s(door) > 0, "it is there for the next `up`"
    folder = door.sshd.home / ".local" / "share" / "remote-runtime"
    (folder / "venv").mkdir(parents=True)  # as a private environment stays
    done = world.run("down", "vm", "--purge", "--json")
    assert done.code == 0, done.err + done.out
    assert door.vm.metadata == before
    assert not folder.exists()


def expires_in_s(door: Doorway) -> float:
    (entry,) = metadata_keys.valid_entries(door.vm.metadata["ssh-keys"], time.time())
    assert entry.until is not None
    return entry.until - time.time()
