"""Moves a stopped instance: snapshots, the new instance in the first zone with capacity, and the snapshots deleted."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.callbacks import Progress
from ...core.creation import CREATED_BY_LABEL, CloudResource, ZoneAttempt
from ...core.deadline import Deadline
from ...core.errors import CloudError
from ...core.model import CreationResult, Instance
from ...core.move import MOVED_FROM_LABEL, MovedDisk, MovePlan
from ..client.api import Api, open_api
from ..client.error_mapping import AlreadyExists
from ..creation.create import REPORT_EVERY_S, Creation
from ..creation.delete import delete_resource
from ..creation.plan import find_by_name
from ..instances import operations, power
from ..instances.convert import last_segment, status_of
from ..worker_protocol import TIMEOUT_HINT, ReadyOptions
from .plan import STOPPED, not_movable
from .resource import moved_instance

if TYPE_CHECKING:
    from google.cloud import compute_v1

POLL_EVERY_S = 1.0


def move(
    plan: MovePlan,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    before_make: Callable[[CloudResource], None],
    after_zone: Callable[[ZoneAttempt], None],
    after_delete: Callable[[CloudResource], None],
    options: ReadyOptions,
) -> CreationResult:
    """The new instance, running; the old one stays as it is.

    ``before_make`` is called with each snapshot, disk and instance before its request; ``after_delete`` with each
    snapshot that no longer exists, ``after_zone`` with each zone that failed. A snapshot that cannot be deleted stays.
    Can be called again after it was interrupted. Raises as ``creation.create``, and ``instance-not-movable``.
    """
    api = open_api(environ, progress=progress, deadline=deadline, project=plan.creation.project)
    api.timeout_hint = TIMEOUT_HINT
    creation = _Move(api, plan.creation, before_make, after_zone, options, move=plan, old=_read_old(api, plan))
    snapshots = [_resource(plan, "snapshot", disk.snapshot, "") for disk in plan.disks]
    if not creation.is_made:
        for snapshot in snapshots:
            before_make(snapshot)
        _make_snapshots(api, plan)
    instance = creation.run()
    for snapshot in snapshots:
        try:
            delete_resource(api, snapshot, plan.creation.client_id)
        except CloudError as error:
            progress(f"Snapshot {snapshot.name} could not be deleted: {error}")
        else:
            after_delete(snapshot)
    return CreationResult(instance, tuple(creation.attempts), creation.resource)


def delete_old(
    plan: MovePlan, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Deletes the instance that ``plan`` has moved, with the disks that go with it; the names of its other disks.

    Raises ``CloudError`` ``instance-not-movable``, and deletes nothing, unless the new instance runs and the old one
    does not.
    """
    api = open_api(environ, progress=progress, deadline=deadline, project=plan.creation.project)
    old = _read_old(api, plan)
    name, zone = plan.creation.instance, plan.old_zone
    instance = Instance(kind="gce", name=name, zone=zone, project=api.project)
    if not any(status_of(raw) == "RUNNING" for raw in moved_instances(api, plan)):
        raise not_movable(instance, "the new VM does not run, so the old one is not deleted")
    request = api.request_for(instance, request_id=str(uuid.uuid4()))
    progress(f"Deleting {name} in {zone}")
    operation = api.call(api.instances.delete_unary, request, doing=f"delete {name} in {zone}")
    operations.wait_until_done(api, "delete", instance, operation, lambda: None)
    return tuple(disk.source.rpartition("/")[2] for disk in old.disks if disk.source and not disk.auto_delete)


def moved_instances(api: Api, plan: MovePlan) -> list[compute_v1.Instance]:
    """What was made of the old instance, by this client or another."""
    found = find_by_name(api, plan.creation.instance)
    return [raw for raw in found if raw.labels.get(MOVED_FROM_LABEL) == plan.moved_from]


def _read_old(api: Api, plan: MovePlan) -> compute_v1.Instance:
    """The old instance, which must not run: its disks would change after the snapshots."""
    old = Instance(
        kind="gce", name=plan.creation.instance, id=plan.old_id, zone=plan.old_zone, project=plan.creation.project
    )
    raw = power.reload(api, old)
    if status_of(raw) not in STOPPED:
        raise not_movable(old, f"its status is {status_of(raw)}", "Run `remote-runtime up PROFILE`")
    return raw


def _make_snapshots(api: Api, plan: MovePlan) -> None:
    """All at once. Those that an interrupted call made are used: their names are the plan's."""
    from google.cloud import compute_v1

    disks, zone, started = api.client(compute_v1.DisksClient), plan.old_zone, []
    for disk in plan.disks:
        api.progress(f"Making a snapshot of disk {disk.name} ({disk.size_gb} GB)")
        body = compute_v1.Snapshot(
            name=disk.snapshot,
            labels={CREATED_BY_LABEL: plan.creation.client_id},
            description=f"Made by remote-runtime to move {plan.creation.instance} out of {zone}",
        )
        request = {"project": api.project, "zone": zone, "disk": disk.name, "snapshot_resource": body}
        request["request_id"] = str(uuid.uuid4())
        try:
            operation = api.call(disks.create_snapshot_unary, request, doing=f"make a snapshot of disk {disk.name}")
        except AlreadyExists:
            continue
        started.append((disk, operation))
    report = _Report(api)
    for disk, operation in started:
        owner = Instance(kind="gce", name=f"disk {disk.name}", zone=zone, project=api.project)
        operations.wait_until_done(api, "snapshot", owner, operation, partial(report, disk))
    for disk in plan.disks:
        _await_ready(api, disk, report)


def _await_ready(api: Api, disk: MovedDisk, report: _Report) -> None:
    from google.cloud import compute_v1

    client: Any = api.client(compute_v1.SnapshotsClient)
    request = {"project": api.project, "snapshot": disk.snapshot}
    while True:
        snapshot = api.call(client.get, request, doing=f"read the snapshot {disk.snapshot}")
        if snapshot.status == "READY":
            return
        if snapshot.status == "FAILED":
            raise CloudError("instance-not-movable", f"The snapshot of disk {disk.name} failed")
        report(disk)
        api.deadline.sleep(POLL_EVERY_S)


@dataclass
class _Report:
    api: Api
    began_at: float = field(default_factory=time.monotonic)
    _reported_at: float = field(default_factory=time.monotonic)

    def __call__(self, disk: MovedDisk) -> None:
        now = time.monotonic()
        if now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = now
            self.api.progress(f"Making a snapshot of disk {disk.name}, {now - self.began_at:.0f} s")


@dataclass
class _Move(Creation):
    """Creates the new instance with its disks, each zone in turn."""

    move: MovePlan = field(kw_only=True)
    old: compute_v1.Instance = field(kw_only=True)

    @property
    def is_made(self) -> bool:
        return bool(self._named_so())

    def _named_so(self) -> list[compute_v1.Instance]:
        return moved_instances(self.api, self.move)

    def _use(self, raw: compute_v1.Instance) -> Instance:
        if raw.labels.get(MOVED_FROM_LABEL) != self.move.moved_from:
            old = Instance(kind="gce", name=self.plan.instance, zone=self.move.old_zone)
            raise not_movable(old, f"another VM of this name was created in {last_segment(raw.zone)} meanwhile")
        return super()._use(raw)

    def _body(self, zone: str) -> compute_v1.Instance:
        return moved_instance(self.old, self.move, zone, self._wait_s())

    def _announce(self, zone: str) -> CloudResource:
        for disk in self._disks(zone):
            self.before_insert(disk)
        return super()._announce(zone)

    def _delete(self, zone: str) -> bool:
        """Also the disks, which not all go with the instance."""
        if not super()._delete(zone):
            return False
        for disk in self._disks(zone):
            try:
                delete_resource(self.api, disk, self.plan.client_id)
            except CloudError as error:
                self.api.progress(f"Disk {disk.name} in {zone} could not be deleted: {error}")
                return False
        return True

    def _disks(self, zone: str) -> Iterator[CloudResource]:
        return (_resource(self.move, "disk", disk.name, zone) for disk in self.move.disks)


def _resource(plan: MovePlan, kind: Any, name: str, zone: str) -> CloudResource:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return CloudResource(kind, name, plan.creation.project, zone, now, "", plan.creation.client_id)
