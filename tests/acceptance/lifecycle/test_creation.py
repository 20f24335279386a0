"""`up` creates the VM: the API is the emulator's, SSH is a real OpenSSH server, Jupyter is real."""

from __future__ import annotations

import pytest

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.machines.new_vm import ZONES, empty_project
from tests.support.price_rows import catalogue


def test_up_creates_the_vm_in_the_first_zone_with_capacity_and_down_deletes_it(world: World) -> None:
    with empty_project(world, create="boot_disk: {size: 20GB}") as project:
        project.emulator.cloud.exhausted = {ZONES[0]: "ZONE_RESOURCE_POOL_EXHAUSTED"}

        project.emulator.cloud.skus = catalogue()
        world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"] = project.emulator.os_login_endpoint
        priced = world.run("machine-types", "--project", project.project, "--region", "us-central1")
        assert priced.code == 0, priced.err

        asked = world.run("up", "new", "--json")
        assert (asked.code, asked.error["code"]) == (2, "confirmation-needed")
        assert "remote-runtime up new --yes" in asked.error["hint"]
        assert project.is_empty

        up = world.run("up", "new", "--yes")
        assert up.code == 0, up.err + world.log("new")
        assert f"{ZONES[0]}  no capacity: ZONE_RESOURCE_POOL_EXHAUSTED" in up.err
        assert f"{ZONES[1]}  created" in up.err
        assert "An hour costs about $0.86 in us-central1 (list price)" in up.err
        page = Page(up.out.strip())
        assert page.run(page.start_kernel(), "print(6*7)") == "42"
        assert project.places == [ZONES[1]]
        (resource,) = world.file("new")["resources"]
        assert (resource["kind"], resource["zone"]) == ("instance", ZONES[1])
        assert resource["id"] == project.emulator.cloud.instances[0].id

        price = eventually(lambda: world.look("new")["price"])
        assert price["amount"] == pytest.approx(8 * 0.025 + 32 * 0.003 + 0.56 + 20 * 0.1 / 730, abs=1e-6)
        stopped = world.run("down", "new", "--stop-instance", "--json").document["stopped"][0]
        assert (stopped["instance"], stopped["price"]["amount"]) == ("stopped", price["amount"])
        assert stopped["notes"] == [
            "Still billed: disk my-l4 (20 GB). `remote-runtime down new --delete-instance` deletes the VM"
        ]
        refused = world.run("down", "new", "--delete-instance", "--json")
        assert (refused.code, refused.error["code"]) == (2, "confirmation-needed")
        assert f"Delete my-l4 in {ZONES[1]} with its disk my-l4 (20 GB)?" in refused.error["why"]
        assert project.places == [ZONES[1]]
        deleted = world.run("down", "new", "--delete-instance", "--yes", "--json").document["stopped"][0]
        assert deleted["instance"] == "deleted"
        assert project.is_empty
        assert world.left_files() <= {"new.port", "new.log", "new.alive", "new.busy", "known_hosts", "known_hosts.lock"}
