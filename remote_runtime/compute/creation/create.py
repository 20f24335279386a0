"""Creates the planned instance in the first zone that takes it. All zones are tried in one process.

A failed zone is left without an instance before the next one is tried. Two clients that create one name at once end
with one instance: in the same zone the second request is refused (409), and of two zones the instance that ran later is
deleted by the client that made it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ...core.callbacks import Progress
from ...core.creation import (
    CREATED_BY_LABEL,
    CloudResource,
    CreationPlan,
    PlannedZone,
    ZoneAttempt,
    region_of,
)
from ...core.deadline import Deadline
from ...core.errors import CloudError
from ...core.model import CreationResult, Instance
from ..client.api import Api, open_api
from ..client.error_mapping import AlreadyExists, InvalidRequest, NotFound
from ..instances import operations, power, search
from ..instances.convert import last_segment, to_instance
from ..readiness import ready_instance
from ..worker_protocol import TIMEOUT_HINT, ReadyOptions
from . import failures
from .delete import delete_instance
from .plan import find_by_name
from .resource import instance_resource

if TYPE_CHECKING:
    from google.cloud import compute_v1

REPORT_EVERY_S = 5.0
MIN_WAIT_S = 90.0  # Compute Engine's, for capacity


def create(
    plan: CreationPlan,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    before_insert: Callable[[CloudResource], None],
    after_zone: Callable[[ZoneAttempt], None],
    options: ReadyOptions,
) -> CreationResult:
    """The running instance, with its address and the host keys that it publishes.

    ``before_insert`` is called with what is about to be created; ``after_zone`` when a zone has failed, or when an
    instance that another client created is used. Can be called again after it was interrupted: it continues with an
    instance that exists.

    Raises ``CloudError``: ``no-capacity``, ``quota-exceeded`` or ``instance-not-created`` with a line for each zone;
    ``permission-denied``; ``DeadlinePassed``, ``Interrupted``.
    """
    api = open_api(environ, progress=progress, deadline=deadline, project=plan.project)
    api.timeout_hint = TIMEOUT_HINT
    creation = Creation(api, plan, before_insert, after_zone, options)
    instance = creation.run()
    return CreationResult(instance, tuple(creation.attempts), creation.resource)


@dataclass
class Creation:
    """The zones, one after the other. A subclass creates something else in the same order."""

    api: Api
    plan: CreationPlan
    before_insert: Callable[[CloudResource], None]
    after_zone: Callable[[ZoneAttempt], None]
    options: ReadyOptions
    attempts: list[ZoneAttempt] = field(default_factory=list)
    resource: CloudResource | None = None
    _errors: list[CloudError] = field(default_factory=list)
    _scopes: dict[str, str] = field(default_factory=dict)  # of quotas that are used up, and why
    _waited_s: float = 0.0

    def run(self) -> Instance:
        while existing := self._named_so():
            try:
                return self._use(_oldest(existing))
            except CloudError as error:
                if error.code != "instance-not-found":
                    raise
                self.resource = None  # another client's creation failed meanwhile
        for number, zone in enumerate(self.plan.zones):
            if reason := self._why_not(zone):
                self._note(reason)
                continue
            more = f" ({number + 1} of {len(self.plan.zones)} zones)" if len(self.plan.zones) > 1 else ""
            self.api.progress(f"Creating {self.plan.instance} in {zone.name}{more}")
            instance = self._try(zone.name)
            if instance is not None:
                return instance
            if self.attempts[-1].remains:
                break  # else there would be two
        kind = self.plan.settings.machine_type
        raise failures.whole_error(self.plan.instance, kind, self._errors, self.attempts)

    def _named_so(self) -> list[compute_v1.Instance]:
        """The instances that another client, or an earlier `up`, may have made of the same plan."""
        return find_by_name(self.api, self.plan.instance)

    def _body(self, zone: str) -> compute_v1.Instance:
        return instance_resource(self.plan, zone, self._wait_s())

    def _announce(self, zone: str) -> CloudResource:
        """The instance that is about to be created in ``zone``."""
        resource = self._new_resource(zone)
        self.before_insert(resource)
        return resource

    def _why_not(self, zone: PlannedZone) -> ZoneAttempt | None:
        if zone.skip:
            return ZoneAttempt(zone.name, "no-machine-type", zone.skip)
        for scope in ("global", region_of(zone.name)):
            if scope in self._scopes:
                return ZoneAttempt(zone.name, "not-tried", self._scopes[scope])
        if self._waited_s and self._wait_s() < MIN_WAIT_S:
            return ZoneAttempt(
                zone.name, "not-tried", f"the wait of {self.plan.settings.capacity_wait_s:.0f} s is over"
            )
        return None

    def _try(self, zone: str) -> Instance | None:
        """The instance that runs, or None after a failure of this zone alone."""
        asked_at, resource = time.monotonic(), self._announce(zone)
        try:
            operation = self._insert(zone)
        except AlreadyExists:
            return self._use_existing(zone)
        except CloudError as error:
            failure = failures.from_error(error, zone)
            if failure is None:
                self._note(ZoneAttempt(zone, "failed", error.why))  # nothing was made
                raise
            self._fail(failure, zone)
            return None
        operation = self._await(zone, operation)
        self._waited_s += time.monotonic() - asked_at if self.plan.settings.capacity_wait_s else 0.0
        failed = failures.from_operation(operation, zone, self.plan.instance, self.api.project)
        if failed is not None:
            self._fail(failed, zone, is_made=True)
            return None
        return self._started(zone, resource)

    def _use_existing(self, zone: str) -> Instance | None:
        """None if the instance of another client has vanished meanwhile: its creation failed."""
        try:
            return self._use(search.get(self.api, self.plan.instance, zone))
        except CloudError as error:
            if error.code != "instance-not-found":
                raise
            self._fail(failures.ZoneFailure("failed", "another client's VM was deleted meanwhile", error), zone)
            return None

    def _started(self, zone: str, resource: CloudResource) -> Instance | None:
        """Compute Engine has created it: waits until it runs and can be verified. None if it stopped meanwhile."""
        poller = self._poller(search.get(self.api, self.plan.instance, zone))
        while poller.status in power.COMING_UP:
            poller.report("Waiting for {} to run")
            poller.wait_and_poll()
        if poller.status == "RUNNING":
            if first := self._older_one(poller.raw):
                return self._use_other(first, zone)
            instance = ready_instance(self.api, poller, self.options, was_running=False, started_from=None)
            poller.poll()
            if poller.status == "RUNNING":
                self.resource = resource
                self.attempts.append(ZoneAttempt(zone, "created"))
                return instance
        self._fail(self._stopped(poller.status, zone), zone, is_made=True)
        return None

    def _stopped(self, status: str, zone: str) -> failures.ZoneFailure:
        is_spot, why = self.plan.settings.provisioning == "spot", f"it stopped while starting ({status})"
        code = "no-capacity" if is_spot else "instance-not-created"
        error = CloudError(code, f"{self.plan.instance} stopped while starting in {zone}", why)
        return failures.ZoneFailure("preempted" if is_spot else "failed", why, error)

    def _older_one(self, mine: compute_v1.Instance) -> compute_v1.Instance | None:
        """An instance of this name that another client created in another zone, and that ran before."""
        found = [raw for raw in self._named_so() if CREATED_BY_LABEL in raw.labels]
        older = [raw for raw in found if raw.id != mine.id and search.age_key(raw) < search.age_key(mine)]
        return _oldest(older) if older else None

    def _use_other(self, first: compute_v1.Instance, zone: str) -> Instance:
        """The instance that ran later, in ``zone``, is deleted by its maker."""
        other_zone = last_segment(first.zone)
        self.api.progress(f"Another client created {self.plan.instance} in {other_zone} first; using that one")
        remains = not self._delete(zone)
        self._note(ZoneAttempt(zone, "failed", f"deleted again: it exists in {other_zone}", remains=remains))
        return self._use(first)

    def _use(self, raw: compute_v1.Instance) -> Instance:
        """An instance that exists: of an earlier `up` of this client, or of another one."""
        zone, poller = last_segment(raw.zone), self._poller(raw)
        is_own = raw.labels.get(CREATED_BY_LABEL) == self.plan.client_id
        if is_own:
            self.resource = self._announce(zone)
        power.ensure_running(poller, may_start="always", before_start=lambda instance: None)
        instance = ready_instance(self.api, poller, self.options, was_running=True, started_from=None)
        if is_own:
            self.attempts.append(ZoneAttempt(zone, "created", "by an earlier `up`"))
        else:
            self._note(ZoneAttempt(zone, "used"))
        return instance

    def _insert(self, zone: str) -> compute_v1.Operation:
        """A repeated request, after a lost answer, has no second effect. Raises ``AlreadyExists``, ``CloudError``."""
        request = {
            "project": self.api.project,
            "zone": zone,
            "instance_resource": self._body(zone),
            "request_id": str(uuid.uuid4()),
        }
        doing = f"create {self.plan.instance} in {zone}"
        try:
            return self.api.call(self.api.instances.insert_unary, request, doing=doing, until_ready=False)
        except AlreadyExists:
            raise
        except (InvalidRequest, NotFound) as exc:
            raise CloudError("instance-not-created", exc.what, exc.why) from exc

    def _await(self, zone: str, operation: compute_v1.Operation) -> compute_v1.Operation:
        began_at, reported_at, waits = time.monotonic(), [time.monotonic()], self.plan.settings.capacity_wait_s
        words = "Waiting for capacity in" if waits else f"Creating {self.plan.instance} in"
        of_all = f" of {self._wait_s():.0f} s" if waits else ""

        def report() -> None:
            now = time.monotonic()
            if now - reported_at[0] >= REPORT_EVERY_S:
                reported_at[0] = now
                self.api.progress(f"{words} {zone}, {now - began_at:.0f} s{of_all}")

        name = self.plan.instance
        return operations.await_end(self.api, "create", _named(name, zone, self.api.project), operation, report)

    def _fail(self, failure: failures.ZoneFailure, zone: str, *, is_made: bool = False) -> None:
        """``is_made``: an operation failed, which may leave an instance."""
        if failure.scope:
            self._scopes[failure.scope] = f"the quota is used up: {failure.why}"
        self._errors.append(failure.error)
        remains = is_made and not self._delete(zone)
        self._note(ZoneAttempt(zone, failure.kind, failure.why, remains=remains))

    def _delete(self, zone: str) -> bool:
        """Whether the zone has no instance of this client any more. Raises ``Interrupted``."""
        try:
            delete_instance(self.api, self.plan.instance, zone, self.plan.client_id)
        except CloudError as error:
            self.api.progress(f"{self.plan.instance} in {zone} could not be deleted: {error}")
            return False
        return True

    def _note(self, attempt: ZoneAttempt) -> None:
        self.attempts.append(attempt)
        if attempt.result != "used":
            self.api.progress(f"{attempt.zone}: {attempt.text}")
        self.after_zone(attempt)

    def _wait_s(self) -> float:
        return max(0.0, self.plan.settings.capacity_wait_s - self._waited_s)

    def _poller(self, raw: compute_v1.Instance) -> power.StatusPoller:
        return power.StatusPoller(self.api, to_instance(raw, self.api.project, "auto"), raw)

    def _new_resource(self, zone: str) -> CloudResource:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return CloudResource("instance", self.plan.instance, self.api.project, zone, now, "", self.plan.client_id)


def _named(name: str, zone: str, project: str) -> Instance:
    return Instance(kind="gce", name=name, zone=zone, project=project)


def _oldest(found: list[compute_v1.Instance]) -> compute_v1.Instance:
    return min(found, key=search.age_key)
