"""`up --move`: a stopped VM whose zone has no capacity goes on in another one, with its disks."""

from __future__ import annotations

import pytest

from remote_runtime.demo.gcp_api.values import Delays
from tests.support.clients.page import Page
from tests.support.environment.moving import existing
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.killed_keeper import KilledUp
from tests.support.machines.new_vm import ZONES, stopped_vm

OLD = {("instance", "my-vm", ZONES[0]), ("disk", "my-vm", ZONES[0]), ("disk", "data", ZONES[0])}
NEW = {("instance", "my-vm", ZONES[1]), ("disk", "my-vm", ZONES[1]), ("disk", "data", ZONES[1])}


def test_a_vm_without_capacity_moves_with_its_files_and_the_old_one_stays_or_goes_as_the_user_says(
    world: World,
) -> None:
    with stopped_vm(world) as project:
        (project.sshd.home / "notes.txt").write_text("kept")
        asked = world.run("up", "my-vm", "--move", "--delete-old")
        assert asked.code == 2
        assert "error[confirmation-needed]" in asked.err
        assert "remote-runtime up my-vm --move --delete-old --yes" in asked.err
        assert existing(project.emulator) == OLD, "nothing is made before the answer"

        up = world.run("up", "my-vm", "--move", "--yes")
        assert up.code == 0, up.err + world.log("my-vm")
        for told in (
            f"my-vm can't start in {ZONES[0]}: ZONE_RESOURCE_POOL_EXHAUSTED",
            "Its disks are copied through snapshots: my-vm (100 GB pd-standard), data (100 GB pd-standard)",
            f"Moved my-vm out of {ZONES[0]}",
            f"The old my-vm stays in {ZONES[0]}, stopped; its disks cost money. To delete it: "
            f"`gcloud compute instances delete my-vm --zone={ZONES[0]} --project=my-project`",
        ):
            assert told in " ".join(up.err.split()), up.err
        page = Page(up.out.strip())
        assert page.run(page.start_kernel(), "print(open('notes.txt').read())") == "kept"
        assert existing(project.emulator) == OLD | NEW, "the snapshots are gone"
        old, new = project.emulator.cloud.instances
        assert (old.status, new.vm.labels["team"]) == ("TERMINATED", "vision")
        runtime = world.file("my-vm")
        assert [(each["kind"], each["zone"], each["id"]) for each in runtime["resources"]] == [
            ("instance", ZONES[1], new.id)
        ]
        pins = (world.state / "known_hosts").read_text()
        assert f"compute.{new.id} ssh-ed25519" in pins, "verified by the new VM's guest attributes"
        assert old.id not in pins

        deleted = world.run("down", "my-vm", "--delete-instance", "--yes", "--json").document["stopped"][0]
        assert deleted["instance"] == "deleted"
        assert existing(project.emulator) == OLD | {("disk", "data", ZONES[1])}, "its data disk is not deleted with it"


def test_delete_old_deletes_the_old_vm_once_the_new_one_is_ready(world: World) -> None:
    with stopped_vm(world, delays=Delays(delete_s=1.0)) as project:
        project.emulator.cloud.exhausted[ZONES[1]] = "503"
        old = project.emulator.cloud.instances[0]
        command = world.start("up", "my-vm", "--move", "--delete-old", "--yes")
        eventually(lambda: old.deleting, within_s=60)
        assert not world.file("my-vm")["unfinished"], "saved before: a failure now must not delete the new one"
        out, err = command.communicate(timeout=60)
        assert command.returncode == 0, err + world.log("my-vm")
        assert f"{ZONES[1]}  no capacity" in err
        assert f"In {ZONES[0]} its disk data remains" in err
        assert out.startswith("http://localhost:")
        assert existing(project.emulator) == {
            ("instance", "my-vm", ZONES[2]), ("disk", "my-vm", ZONES[2]), ("disk", "data", ZONES[2]),
            ("disk", "data", ZONES[0]),
        }  # fmt: skip


def test_a_move_whose_vm_is_not_reached_leaves_the_old_one_as_it_was(world: World) -> None:
    with stopped_vm(world) as project:
        project.sshd.refuse()
        profile = world.profiles / "my-vm.yaml"
        profile.write_text(profile.read_text() + "timeouts: {ssh: 2s}\n")
        failed = world.run("up", "my-vm", "--move", "--delete-old", "--yes", "--json")
        assert (failed.code, failed.error["code"]) == (1, "firewall-blocked")  # the port of the test's SSH server
        assert existing(project.emulator) == OLD
        assert project.emulator.cloud.instances[0].status == "TERMINATED"
        assert not (world.state / "my-vm.json").exists()


@pytest.mark.parametrize(("made", "then"), [("snapshot", "down"), ("instance", "up")])
def test_a_keeper_that_is_killed_while_it_moves_leaves_what_the_next_command_finds(
    world: World, made: str, then: str
) -> None:
    """``scripts/soak killed-creations`` does the same at random moments."""
    with stopped_vm(world, delays=Delays(disk_s=1.0, insert_s=2.0)) as project:
        up = KilledUp(world, project, "my-vm", ("--move", "--yes"))
        up.kill_when(lambda: any(kind == made for kind, *_ in up.present()))
        assert up.present() != set()
        assert up.unknown() == set()
        if then == "up":
            world.up("my-vm")  # the half-made VM, without the option
            assert up.present() == NEW
            assert world.look("my-vm")["instance"]["zone"] == ZONES[1]
        assert up.take_down() == ({("disk", "data", ZONES[1])} if then == "up" else set())
