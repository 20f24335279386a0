"""The question before a move, what is saved when, and the old VM afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.creation import (
    CloudResource,
    CreateSettings,
    CreationPlan,
    ImageSource,
    PlannedZone,
    ZoneAttempt,
)
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, Interrupted, UsageError
from remote_runtime.core.model import CreationResult, Instance, Runtime
from remote_runtime.core.move import MovedDisk, MovePlan
from remote_runtime.core.price import HourlyPrice
from remote_runtime.core.profile import GceTarget, Profile
from remote_runtime.keeper import results
from remote_runtime.lifecycle.context import BringUpContext, MayMove
from remote_runtime.lifecycle.creation import find_or_create
from remote_runtime.lifecycle.move import finish_move
from remote_runtime.lifecycle.rollback import Rollback
from remote_runtime.targets import CreateOptions
from tests.support.fakes import EventLog, FakeProgress, FakeTarget, nobody

OLD, NEW = "us-central1-a", "us-central1-b"
FULL = CloudError("no-capacity", "Zone us-central1-a has no capacity for my-vm", "STOCKOUT")
DISKS = (
    MovedDisk("my-vm", 100, "pd-balanced", "s0", boot=True, auto_delete=True),
    MovedDisk("data", 500, "pd-ssd", "s1"),
)
ZONES = (PlannedZone(NEW), PlannedZone("us-central1-f", skip="no n1-standard-8 there"))
CREATION = CreationPlan(
    "my-vm", "p", CreateSettings("n1-standard-8", ImageSource()), ZONES, "", "disk my-vm", "n1-standard-8", 100, "c1"
)
PLAN = MovePlan(CREATION, "7", OLD, OLD, DISKS, ("It has no alias IP ranges",))
MOVED = Instance("gce", "my-vm", id="8", zone=NEW, project="p", created_by="c1")


def resource(kind: Any, name: str, zone: str = "") -> CloudResource:
    return CloudResource(kind, name, "p", zone, "2026-01-01T00:00:00+00:00", "", "c1")


SNAPSHOTS = tuple(resource("snapshot", disk.snapshot) for disk in DISKS)
MADE = (*(resource("disk", disk.name, NEW) for disk in DISKS), resource("instance", "my-vm", NEW))


class Cloud(FakeTarget):
    """``ends``: what the move ends with. ``kept``: what ``delete_old`` returns or raises."""

    ends: Exception | None = None
    kept: Sequence[str] | CloudError = ("data",)

    def plan_move(self, client_id: str, *, delete_old: bool, quota: str, **_: Any) -> MovePlan:
        self._journal.did(f"plan {quota}".strip())
        return PLAN

    def hourly_price(self, instance: Instance, deadline: Deadline) -> HourlyPrice | None:
        assert (instance.id, instance.zone) == ("7", OLD)
        return HourlyPrice(0.38, "USD")

    def move(self, plan: MovePlan, options: CreateOptions) -> CreationResult:
        for each in (*SNAPSHOTS, *MADE):
            options.before_insert(each)
        if self.ends is not None:
            raise self.ends
        for each in SNAPSHOTS:
            options.after_delete(each)
        return CreationResult(MOVED, (ZoneAttempt(NEW, "created"),), MADE[-1])

    def delete_old(self, plan: MovePlan, **_: Any) -> Sequence[str]:
        self._journal.did("delete old")
        if isinstance(self.kept, CloudError):
            raise self.kept
        return self.kept


class Up:
    def __init__(self, *, delete_old: bool = False, left: tuple[CloudResource, ...] = (), ready: bool = False) -> None:
        self.journal, self.moved, self.instance = EventLog(), [], Instance("gce", "unset")  # type: ignore[var-annotated]
        self.cloud = Cloud(self.journal, Profile("vm", Path("/vm.yaml"), GceTarget("my-vm", project="p", zone=OLD)))
        self.saved: list[tuple[CloudResource, ...]] = []
        may_move = MayMove(lambda plan: self.journal.did("confirm"), self.moved.append, delete_old)
        self.context = BringUpContext(
            client_id="c1",
            target=self.cloud,
            progress=FakeProgress(self.journal),
            prompt=nobody,
            record=self._record,
            previous=Runtime("vm", "/vm.yaml", {"kind": "gce"}, "c1", unfinished=not ready, resources=left),
            may_move=may_move,
        )
        self.rollback = Rollback(self.context.progress)

    def run(self, error: CloudError = FULL, **changes: Any) -> Instance:
        def find() -> Instance:
            raise error

        context = replace(self.context, **changes)
        return find_or_create(context, self.rollback, Deadline(10), find, may_create=True)

    @property
    def notes(self) -> list[str]:
        return [event.removeprefix("note: ") for event in self.journal.events if event.startswith("note")]

    def _record(self, **facts: Any) -> None:
        if "resources" in facts:
            self.saved.append(facts["resources"])
        if "instance" in facts:
            self.instance = facts["instance"]


def test_all_that_is_made_is_saved_first_and_the_snapshots_are_not_any_more() -> None:
    up = Up()
    assert up.run() == replace(MOVED, started_from="CREATED")
    assert up.saved[:5] == [(*SNAPSHOTS, *MADE)[:count] for count in range(1, 6)]
    assert up.saved[-1] == (*MADE[:2], replace(MADE[-1], id="8"))
    finished = results.finished_facts(Runtime("vm", "", {}, "c1", resources=up.saved[-1]))["resources"]
    assert finished == up.saved[-1][2:], "its disks are the VM's then, and what `down` deletes with it"
    assert up.moved == [PLAN]
    assert up.notes == [
        f"my-vm can't start in {OLD}: STOCKOUT",
        f"`up --move` creates the same VM in {NEW}: n1-standard-8",
        "Its disks are copied through snapshots: my-vm (100 GB pd-balanced), data (500 GB pd-ssd)",
        "Not in us-central1-f: no n1-standard-8 there",
        "It has no alias IP ranges",
        "An hour costs about $0.38 (list price), as before",
        f"The old VM stays in {OLD}, stopped; its disks cost money until you delete it",
    ]


def test_the_question_says_what_is_deleted_with_the_old_vm() -> None:
    up = Up(delete_old=True)
    up.run()
    assert up.notes[-1] == (
        f"The old VM in {OLD} and its disk my-vm will be deleted when the new one is ready; its disk data will remain "
        "there"
    )


@pytest.mark.parametrize("cause", [CloudError("no-capacity", "Nowhere"), Interrupted()])
def test_a_move_that_fails_is_deleted_and_the_old_vm_is_the_one_of_the_runtime(
    cause: Exception,
) -> None:
    up = Up()
    up.cloud.ends = cause
    with pytest.raises(type(cause)):
        up.run()
    up.rollback.run(cause)
    (deleted,) = [event for event in up.journal.events if event.startswith("delete")]
    assert sorted(part.split()[0] for part in deleted.removeprefix("delete ").split(", ")) == [
        "disk", "disk", "instance", "snapshot", "snapshot",
    ]  # fmt: skip
    assert up.saved[-1] == ()
    assert (up.instance.id, up.instance.zone) == ("7", OLD)
    assert up.moved == []


def test_nothing_moves_without_the_option_without_an_answer_and_for_another_error() -> None:
    up = Up()
    with pytest.raises(CloudError):
        up.run(may_move=None)
    with pytest.raises(CloudError):
        up.run(CloudError("permission-denied", "No"))

    def refuse(plan: MovePlan) -> None:
        raise UsageError("confirmation-needed", "No")

    with pytest.raises(UsageError):
        up.run(may_move=MayMove(refuse, up.moved.append))
    assert (up.saved, up.moved) == ([], [])


def test_a_quota_is_handed_to_the_plan() -> None:
    up = Up()
    up.run(CloudError("quota-exceeded", "Quota", "Quota 'GPUS_ALL_REGIONS' exceeded"))
    assert "plan Quota 'GPUS_ALL_REGIONS' exceeded" in up.journal.events


@pytest.mark.parametrize("ready", [False, True])
def test_what_a_killed_move_left_is_deleted_before_the_next_one(ready: bool) -> None:
    """Also where the runtime was ready before: then its instance is not touched."""
    left = (*SNAPSHOTS, *MADE)
    up = Up(left=left, ready=ready)
    up.run()
    (deleted,) = [event for event in up.journal.events if event.startswith("delete")]
    assert ("instance" in deleted, deleted.count("snapshot"), deleted.count("disk")) == (not ready, 2, 2)


def test_what_a_killed_move_had_made_is_used_and_its_snapshots_are_deleted() -> None:
    up = Up(left=(*SNAPSHOTS, *MADE))
    found = find_or_create(up.context, up.rollback, Deadline(10), lambda: MOVED, may_create=True)
    assert found.started_from == "CREATED"
    assert up.saved[-1] == MADE
    (deleted,) = [event for event in up.journal.events if event.startswith("delete")]
    assert deleted.count("snapshot") == 2
    assert "disk" not in deleted


@pytest.mark.parametrize(
    ("kept", "last"),
    [
        (("data",), f"In {OLD} its disk data remains and costs money"),
        ((), ""),
        (CloudError("permission-denied", "No permission", "403"), "No permission: 403. To delete it: `gcloud compute"),
    ],
)
def test_the_old_vm_is_deleted_after_the_move_or_said_to_stay(kept: Sequence[str] | CloudError, last: str) -> None:
    up = Up()
    up.cloud.kept = kept
    finish_move(PLAN, up.cloud, up.context.progress, delete_old=False)
    assert "delete old" not in up.journal.events
    assert up.notes.pop().startswith(f"The old my-vm stays in {OLD}, stopped")
    finish_move(PLAN, up.cloud, up.context.progress, delete_old=True)
    assert "delete old" in up.journal.events
    assert last in (up.notes or [""])[-1]
