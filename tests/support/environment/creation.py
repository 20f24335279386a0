"""A creation against an emulator: the plan, and what the client reported meanwhile."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from remote_runtime.compute import handlers
from remote_runtime.compute.worker_protocol import ReadyOptions
from remote_runtime.core.creation import (
    CloudResource,
    CreateSettings,
    CreationPlan,
    ImageSource,
    PlannedZone,
    ZoneAttempt,
)
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import CreationResult
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator

IMAGE = "projects/debian-cloud/global/images/debian-12-bookworm-v20260114"
L4 = CreateSettings("g2-standard-8", ImageSource(family="debian-12", project="debian-cloud"))
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c", "europe-west4-a", "europe-west4-b", "us-east1-b")


def plan_of(*zones: str, settings: CreateSettings = L4, client_id: str = "c1") -> CreationPlan:
    return CreationPlan(
        "my-l4",
        "demo",
        settings,
        tuple(map(PlannedZone, zones or ZONES[:1])),
        IMAGE,
        "debian-12-bookworm-v20260114",
        settings.machine_type,
        20,
        client_id,
        has_gpu=settings.machine_type.startswith("g2"),
    )


@dataclass
class Creation:
    """One client. ``intents``: what was about to be created, when that was told; ``zones``: what failed."""

    emulator: FaultyEmulator
    within_s: float = 20.0
    told: list[str] = field(default_factory=list)
    intents: list[CloudResource] = field(default_factory=list)
    zones: list[ZoneAttempt] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(self, plan: CreationPlan, **options: Any) -> CreationResult:
        return handlers.create(
            plan,
            before_insert=self._before_insert,
            after_zone=self.zones.append,
            options=ReadyOptions(**{"host_keys_within_s": 0.0, **options}),
            **self.given(),
        )

    def delete(self, *resources: CloudResource, client_id: str = "c1") -> tuple[str, ...]:
        return handlers.delete_resources(resources or self.intents, client_id, **self.given())

    def given(self) -> Any:
        return {
            "progress": self.told.append,
            "deadline": Deadline(self.within_s, self.cancelled),
            "environ": emulator_environ(self.emulator.endpoint),
        }

    def _before_insert(self, resource: CloudResource) -> None:
        is_known = any(each.zone == resource.zone for each in self.intents)
        own = [each.vm for each in self.emulator.cloud.instances if resource.created_by in each.vm.labels.values()]
        is_made = any(vm.zone == resource.zone for vm in own)
        assert is_known or not is_made, "told too late"
        self.intents.append(resource)
