"""What `up` creates is saved before it is requested, and deleted again if the `up` fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from remote_runtime.core.errors import CloudError, Interrupted, RemoteRuntimeError, UsageError
from remote_runtime.core.model import CreationResult, Instance, Runtime
from remote_runtime.core.profile import DemoTarget, GceTarget, IdleSettings, Profile
from remote_runtime.lifecycle.context import BringUpContext
from remote_runtime.lifecycle.creation import find_or_create, plan_lines
from remote_runtime.lifecycle.rollback import Rollback
from remote_runtime.targets import CreateOptions
from tests.support.fakes import EventLog, FakeProgress, FakeTarget, nobody

SETTINGS = CreateSettings("g2-standard-8", ImageSource(family="debian-12"))
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c")
NEW = Instance("gce", "my-l4", id="7", zone=ZONES[1], project="p", created_by="c1")
MISSING = CloudError("instance-not-found", "No instance my-l4")


def resource(zone: str) -> CloudResource:
    return CloudResource("instance", "my-l4", "p", zone, "2026-01-01T00:00:00+00:00", "", "c1")


class Cloud(FakeTarget):
    """The zones before that of ``NEW`` have no capacity. ``ends``: what the creation ends with, after its last zone."""

    def __init__(self, journal: EventLog, profile: Profile) -> None:
        super().__init__(journal, profile)
        self.first_zone = ""
        self.failed_remains = False
        self.ends: RemoteRuntimeError | CloudResource | None = resource(ZONES[1])

    def plan_creation(self, client_id: str, *, first_zone: str, **_: Any) -> CreationPlan | None:
        self.first_zone = first_zone
        settings, zones = self.profile.creation, tuple(map(PlannedZone, ZONES))
        if settings is None:
            return None
        return CreationPlan("my-l4", "p", settings, zones, "i", "debian-12", "g2 (8 vCPUs)", 50, client_id)

    def create(self, plan: CreationPlan, options: CreateOptions) -> CreationResult:
        attempts = []
        for zone in ZONES[:2]:
            options.before_insert(resource(zone))
            self._journal.did(f"insert in {zone}")
            if zone == NEW.zone:
                break
            attempts.append(ZoneAttempt(zone, "no-capacity", "STOCKOUT", remains=self.failed_remains))
            options.after_zone(attempts[-1])
        if isinstance(self.ends, RemoteRuntimeError):
            raise self.ends
        if self.ends is None:
            options.after_zone(ZoneAttempt(ZONES[1], "used"))
        return CreationResult(NEW, (*attempts, ZoneAttempt(ZONES[1], "created")), self.ends)


class Up:
    """One `up` as far as the instance. ``saved``: the resources of the state file, after each change."""

    def __init__(
        self, *, settings: CreateSettings | None = SETTINGS, confirm: Callable[[CreationPlan], None] | None = None,
        left: tuple[CloudResource, ...] = (), unfinished: bool = True,
    ) -> None:  # fmt: skip
        self.journal = EventLog()
        target = GceTarget("my-l4", project="p", zones=ZONES, create=settings)
        self.cloud = Cloud(self.journal, Profile("new", Path("/new.yaml"), target))
        self.saved: list[tuple[CloudResource, ...]] = [left]
        self.instance: Instance | None = NEW
        previous = Runtime("new", "/new.yaml", {"kind": "gce"}, "c1", unfinished=unfinished, resources=left)
        self.context = BringUpContext(
            client_id="c1",
            target=self.cloud,
            progress=FakeProgress(self.journal),
            prompt=nobody,
            record=self._record,
            previous=previous,
            confirm_creation=confirm or (lambda plan: self.journal.did("confirm")),
        )
        self.rollback = Rollback(self.context.progress)

    def run(self, find: Callable[[], Instance], *, may_create: bool = True) -> Instance:
        return find_or_create(self.context, self.rollback, Deadline(10), find, may_create=may_create)

    @property
    def zones(self) -> list[list[str]]:
        return [[each.zone for each in saved] for saved in self.saved]

    @property
    def did(self) -> list[str]:
        return [event for event in self.journal.events if not event.startswith(("detail", "step", "note"))]

    def _record(self, **facts: Any) -> None:
        if "resources" in facts:
            self.saved.append(facts["resources"])
            self.journal.did(f"save {len(facts['resources'])}")
        if "instance" in facts:
            self.instance = facts["instance"]


def missing() -> Instance:
    raise MISSING


def test_each_intent_is_saved_before_its_request_and_dropped_when_its_zone_failed() -> None:
    up = Up()
    assert up.run(missing) == replace(NEW, started_from="CREATED")
    assert up.did == [
        "confirm", "save 1", f"insert in {ZONES[0]}", "save 0", "save 1", f"insert in {ZONES[1]}", "save 1",
    ]  # fmt: skip
    assert up.saved[-1] == (replace(resource(ZONES[1]), id="7"),)
    notes = [event for event in up.journal.events if event.startswith("note")]
    assert notes[-2:] == [f"note: {ZONES[0]}  no capacity: STOCKOUT", f"note: {ZONES[1]}  created"]


@pytest.mark.parametrize("cause", [CloudError("no-address", "No way"), Interrupted()])
@pytest.mark.parametrize("keep", [False, True])
def test_a_failed_up_deletes_what_it_created_unless_the_profile_keeps_it(cause: RemoteRuntimeError, keep: bool) -> None:
    """Ctrl-C is no failure to look into."""
    up = Up(settings=replace(SETTINGS, keep_on_failure=keep))
    up.run(missing)
    up.rollback.run(cause)
    is_kept = keep and not isinstance(cause, Interrupted)
    assert (f"delete instance my-l4 in {ZONES[1]}" in up.did) is not is_kept
    assert (up.zones[-1], up.instance is None) == (([ZONES[1]], False) if is_kept else ([], True))
    assert up.rollback.failures == []


def test_ctrl_c_in_the_middle_of_a_request_deletes_what_may_exist() -> None:
    up = Up()
    up.cloud.ends = Interrupted()
    with pytest.raises(Interrupted):
        up.run(missing)
    up.rollback.run(Interrupted())
    assert up.did[-2:] == [f"delete instance my-l4 in {ZONES[1]}", "save 0"]


def test_what_cannot_be_deleted_stays_in_the_state_file_and_is_said() -> None:
    up = Up()
    up.run(missing)
    up.cloud.deletion = CloudError("cloud-unreachable", "Can't reach the API", "offline")
    up.rollback.run(CloudError("no-address", "No way"))
    assert up.zones[-1] == [ZONES[1]]
    assert up.rollback.failures == ["deleting my-l4 failed: Can't reach the API: offline"]


def test_an_instance_of_another_client_is_used_and_never_deleted() -> None:
    up = Up()
    up.cloud.ends = None
    assert up.run(missing).started_from is None
    up.rollback.run(CloudError("no-address", "No way"))
    assert up.zones[-1] == []
    assert not [event for event in up.did if event.startswith("delete")]


def test_an_instance_that_failed_and_could_not_be_deleted_stays_in_the_state_file() -> None:
    up = Up()
    up.cloud.failed_remains = True
    up.run(missing)
    assert up.zones[-1] == [ZONES[0], ZONES[1]]
    up.rollback.run(CloudError("no-address", "No way"))
    assert up.did[-2] == f"delete instance my-l4 in {ZONES[0]}, instance my-l4 in {ZONES[1]}"


def test_no_is_an_answer() -> None:
    def refuse(plan: CreationPlan) -> None:
        raise UsageError("confirmation-needed", "my-l4 was not created")

    up = Up(confirm=refuse)
    with pytest.raises(UsageError):
        up.run(missing)
    assert up.did == []


@pytest.mark.parametrize("why", ["reconnect", "doctor", "no create"])
def test_nothing_is_created_by_a_reconnect_by_doctor_or_without_the_key(why: str) -> None:
    up = Up(settings=None if why == "no create" else SETTINGS)
    if why == "doctor":
        up.context = replace(up.context, confirm_creation=None)
    with pytest.raises(CloudError) as caught:
        up.run(missing, may_create=why != "reconnect")
    assert caught.value is MISSING
    assert up.did == []


def test_what_a_killed_up_left_is_used_and_still_deleted_on_failure() -> None:
    up = Up(left=(resource(ZONES[1]),))
    assert up.run(lambda: NEW).started_from == "CREATED"
    assert up.did == []
    up.rollback.run(CloudError("no-address", "No way"))
    assert up.did == [f"delete instance my-l4 in {ZONES[1]}", "save 0"]


def test_what_a_killed_up_left_in_another_zone_is_deleted_at_once() -> None:
    up = Up(left=(resource(ZONES[0]), resource(ZONES[1])))
    up.run(lambda: NEW)
    assert up.did == [f"delete instance my-l4 in {ZONES[0]}", "save 1"]


def test_what_a_killed_up_had_asked_for_is_asked_for_there_first() -> None:
    up = Up(left=(resource(ZONES[2]),))
    up.run(missing)
    assert up.cloud.first_zone == ZONES[2]


def test_what_a_finished_up_created_stays_when_a_later_one_fails() -> None:
    up = Up(left=(resource(ZONES[1]),), unfinished=False)
    up.run(lambda: NEW)
    up.rollback.run(CloudError("no-address", "No way"))
    assert up.did == []


def lines(profile: Profile, *, skip: str = "", **changes: Any) -> Sequence[str]:
    settings = profile.creation
    assert settings is not None
    zones = (PlannedZone(ZONES[0]), PlannedZone(ZONES[1]), PlannedZone(ZONES[2], skip=skip))
    plan = CreationPlan("my-l4", "p", settings, zones, "i", "debian-12", "g2-standard-8 (8 vCPUs)", 50, "c1", **changes)
    return list(plan_lines(plan, profile))


def test_the_question_says_what_is_made_where_and_when_it_ends() -> None:
    profile = Profile("new", Path(), GceTarget("my-l4", create=SETTINGS), idle=IdleSettings(7200.0))
    assert lines(profile, skip="no g2-standard-8 there") == [
        "my-l4 does not exist in project p. `up` creates it:",
        "g2-standard-8 (8 vCPUs), debian-12, boot disk 50 GB pd-balanced, no external address (IAP)",
        f"In {ZONES[0]}, or else in {ZONES[1]}",
        f"Not in {ZONES[2]}: no g2-standard-8 there",
        "`idle` stops the instance after 2 h without activity",
    ]
    flex = replace(SETTINGS, provisioning="flex-start", max_run_s=43200.0, external_address=True)
    shown = lines(replace(profile, target=GceTarget("my-l4", create=flex), idle=IdleSettings()))
    assert "Flex-start" in shown[1]
    assert "an external address" in shown[1]
    assert shown[-2:] == [
        "Compute Engine waits for capacity for up to 30 min", "Compute Engine stops it after 12 h",
    ]  # fmt: skip
    assert lines(replace(profile, idle=IdleSettings()))[-1] == "It runs, and costs money, until you stop it"
    assert "costs nothing" in lines(replace(profile, target=DemoTarget(create=SETTINGS)))[-1]
