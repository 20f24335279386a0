"""A VM whose door opens in each way, from `up` to a cell in Colab's page, and to `down --purge`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from remote_runtime.compute import key_entries
from tests.support.doorway import NAME, PROJECT, Doorway, Way, doorway
from tests.support.page import Page
from tests.support.ways_in import know, let_in_by
from tests.support.world import World, eventually

DAY_S = 86400.0


@contextmanager
def at_home(world: World, connect: Way = "external", let_in: str = "metadata key") -> Iterator[Doorway]:
    """The person of ``world`` before the door, with the profile `vm`."""
    with doorway(world.home / "cloud", connect=connect) as door:
        door.environ["REMOTE_RUNTIME_STATE_DIR"] = str(world.state)
        with let_in_by(let_in, door):
            world.environ |= {name: value for name, value in door.environ.items() if name != "PATH"}
            world.environ["CLOUDSDK_CORE_PROJECT"] = PROJECT
            profile(world, door)
            yield door
            world.end()


def profile(world: World, door: Doorway, ssh: str = "") -> None:
    target = f"{{kind: gce, instance: {NAME}, connect: {door.connect}}}"
    world.profile("vm", f"version: 1\ntarget: {target}\nssh: {{port: {door.sshd.port}{ssh}}}\n")


@pytest.mark.parametrize(
    ("connect", "let_in", "known_by"),
    [
        ("external", "OS Login", "our pin"),
        ("internal", "existing key", "guest attributes"),
        ("iap", "agent", "gcloud's pin"),
        ("iap", "metadata key", "our pin"),
    ],
)
def test_a_cell_is_run(world: World, connect: Way, let_in: str, known_by: str) -> None:
    with at_home(world, connect, let_in) as door:
        know(door, known_by)
        page = Page(world.up("vm"))
        assert page.run(page.start_kernel(), "print(6*7)") == "42"
        assert world.look("vm")["instance"]["via"] == connect


def test_a_key_comes_with_up_and_goes_with_purge_after_the_keeper_died(world: World) -> None:
    with at_home(world) as door:
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
def test_the_key_of_a_server_that_was_forgotten_goes_with_it(world: World, more: tuple[str, ...]) -> None:
    with at_home(world) as door:
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


def test_a_purge_takes_a_key_that_only_an_earlier_down_knew_of(world: World) -> None:
    with at_home(world) as door:
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


def test_an_up_that_enters_where_it_was_renews_the_key_and_a_purge_after_a_plain_down_takes_it(world: World) -> None:
    with at_home(world) as door:
        before = dict(door.vm.metadata)
        world.up("vm")
        assert world.run("down", "vm", "--keep-server").code == 0
        assert expires_in_s(door) < DAY_S
        profile(world, door, ", key_lifetime: 3d")

        up = world.run("up", "vm")

        assert "where it was last" in up.err
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
    (entry,) = key_entries.entries(door.vm.metadata["ssh-keys"], time.time())
    assert entry.until is not None
    return entry.until - time.time()
