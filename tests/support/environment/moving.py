"""A move against an emulator: the plan, and what the client reported meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from remote_runtime.compute import handlers
from remote_runtime.compute.worker_protocol import ReadyOptions
from remote_runtime.core.creation import CloudResource, ZoneAttempt
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import CreationResult
from remote_runtime.core.move import MovePlan
from remote_runtime.core.profile import GceTarget
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator

TARGET = GceTarget(project="demo", zone="us-central1-a", instance="my-vm")


@dataclass
class Move:
    """One client. ``resources``: what the state file would have; each is told before it exists."""

    emulator: FaultyEmulator
    target: GceTarget = TARGET
    client_id: str = "c1"
    told: list[str] = field(default_factory=list)
    resources: list[CloudResource] = field(default_factory=list)
    zones: list[ZoneAttempt] = field(default_factory=list)

    def plan(self, **options: Any) -> MovePlan:
        return handlers.plan_move(self.target, self.client_id, **options, **self.given())

    def run(self, plan: MovePlan | None = None) -> CreationResult:
        return handlers.move(
            plan or self.plan(),
            before_make=self._before_make,
            after_zone=self.zones.append,
            after_delete=self._after_delete,
            options=ReadyOptions(host_keys_within_s=0.0),
            **self.given(),
        )

    def delete(self) -> tuple[str, ...]:
        return handlers.delete_resources(self.resources, self.client_id, **self.given())

    def find(self) -> Any:
        return handlers.find(self.target, before_start=lambda _: None, host_keys_within_s=0.0, **self.given())

    def given(self) -> Any:
        return {
            "progress": self.told.append,
            "deadline": Deadline(20),
            "environ": emulator_environ(self.emulator.endpoint),
        }

    def _after_delete(self, gone: CloudResource) -> None:
        self.resources = [each for each in self.resources if each.name != gone.name]

    def _before_make(self, resource: CloudResource) -> None:
        assert (resource.kind, resource.name, resource.zone) not in existing(self.emulator), "told too late"
        self.resources.append(resource)


def existing(emulator: FaultyEmulator) -> set[tuple[str, str, str]]:
    """(kind, name, zone) of all that the project has."""
    cloud = emulator.cloud
    with cloud.changed:
        return {
            *(("instance", each.vm.name, each.vm.zone) for each in cloud.instances),
            *(("disk", each.name, each.zone) for each in cloud.disks),
            *(("snapshot", each.name, "") for each in cloud.snapshots),
        }
