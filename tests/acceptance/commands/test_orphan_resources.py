"""VMs, disks and snapshots that were left in a project: listed from here, and deleted when the user says so."""

from __future__ import annotations

from remote_runtime.demo.gcp_api.disks import EmulatedDisk, EmulatedSnapshot
from remote_runtime.demo.gcp_api.values import Vm
from remote_runtime.state.store import LastRun, StateDir, open_state_dir, save_last_run
from tests.support.clients.terminal_user import at_a_terminal
from tests.support.environment.moving import existing
from tests.support.environment.world import COMMAND, World
from tests.support.machines.new_vm import PROJECT, ZONES, EmptyProject, empty_project

LABEL = "remote-runtime-created-by"
LEFT = {
    ("instance", "lost", ZONES[1]),
    ("disk", "lost", ZONES[1]),
    ("disk", "old-data", ZONES[2]),
    ("snapshot", "s1", ""),
}
KEPT = {
    ("instance", "my-l4", ZONES[0]), ("disk", "my-l4", ZONES[0]),  # of a runtime here
    ("instance", "theirs", ZONES[0]), ("disk", "theirs", ZONES[0]),  # of another computer
    ("instance", "plain", ZONES[0]), ("disk", "plain", ZONES[0]),  # without a label
    ("disk", "borrowed", ZONES[0]),  # with our label, and attached to `plain`
}  # fmt: skip


def fill(project: EmptyProject, state: StateDir) -> None:
    """``lost`` and others are of the name ``gone``, which is down; ``my-l4`` is of ``new``, which has a state file."""
    save_last_run(state, "gone", LastRun("aaaa1111"))
    cloud, own, new = project.emulator.cloud, {LABEL: "aaaa1111"}, {LABEL: "bbbb2222"}
    for name, zone, labels in (
        ("lost", ZONES[1], own),
        ("my-l4", ZONES[0], new),
        ("theirs", ZONES[0], {LABEL: "cccc"}),
    ):
        cloud.add(Vm(name, PROJECT, zone, labels=labels))
        cloud.disks[-1].labels = labels
    cloud.add(Vm("plain", PROJECT, ZONES[0]))
    cloud.disks.append(EmulatedDisk(PROJECT, ZONES[0], "borrowed", labels=own))
    cloud.instances[-1].parts["disks"].append(cloud.disks[-1].attachment({}, 1))
    cloud.disks.append(EmulatedDisk(PROJECT, ZONES[2], "old-data", labels=own))
    cloud.snapshots.append(EmulatedSnapshot(PROJECT, "s1", cloud.disks[-1], own, status="READY"))


def test_what_bears_this_clients_label_and_belongs_to_no_runtime_here_is_listed_and_deleted(world: World) -> None:
    with empty_project(world) as project:
        state = open_state_dir(world.environ)
        fill(project, state)
        (state.path / "new.json").write_text(STATE_FILE)
        (state.path / "new.json").chmod(0o600)
        seen = {
            (each["kind"], each["name"], each["zone"]): (each["runtime"], each["owner"], each["orphan"])
            for each in world.run("status", "--all-machines", "--json").document["resources"]
        }
        assert seen == {
            **dict.fromkeys(LEFT, (None, "gone", True)),
            ("instance", "my-l4", ZONES[0]): ("new", "new", False),
            ("disk", "my-l4", ZONES[0]): ("new", "new", False),
            ("instance", "theirs", ZONES[0]): (None, None, False),
            ("disk", "theirs", ZONES[0]): (None, None, False),
            ("disk", "borrowed", ZONES[0]): (None, "gone", False),
        }
        refused = world.run("down", "--orphan-resources", "--json")
        assert (refused.code, refused.error["code"]) == (2, "confirmation-needed")
        assert refused.error["what"] == "Deleting 1 VM, 2 disks and 1 snapshot requires a confirmation"
        assert f"VM lost in {ZONES[1]}, " in refused.error["why"]
        assert " old, created by up gone" in refused.error["why"]
        with at_a_terminal([*COMMAND, "down", "--orphan-resources"], world.environ, columns=160) as person:
            person.sees("Delete 1 VM, 2 disks and 1 snapshot for good?")
            person.types("n")
            assert person.waits() == 2
        assert existing(project.emulator) == LEFT | KEPT
        done = world.run("down", "--orphan-resources", "--yes", "--json")
        assert done.code == 0, done.err
        assert [(each["kind"], each["name"], each["result"]) for each in done.document["orphan_resources"]] == [
            ("instance", "lost", "deleted"), ("disk", "lost", "gone"), ("disk", "old-data", "deleted"),
            ("snapshot", "s1", "deleted"),
        ]  # fmt: skip
        assert existing(project.emulator) == KEPT
        (state.path / "new.json").unlink()
        save_last_run(state, "new", LastRun("bbbb2222"))  # as after a `down` that stopped the VM
        kept = world.run("down", "--orphan-resources", "--yes", "--json")
        assert kept.document["orphan_resources"] == [], "its profile names it"
        assert existing(project.emulator) == KEPT


STATE_FILE = f"""{{"schema": 1, "runtime": {{
    "name": "new", "profile_path": "", "target": {{"kind": "gce"}}, "client_id": "bbbb2222", "state": "down",
    "resources": [{{
        "kind": "instance", "name": "my-l4", "project": "{PROJECT}", "zone": "{ZONES[0]}",
        "created_at": "2026-01-01T00:00:00+00:00"
    }}]
}}}}"""
