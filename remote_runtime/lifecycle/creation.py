"""Creates the VM that a profile describes and that does not exist, and deletes it again if the `up` fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..core.creation import STATUS_CREATED, CloudResource, CreationPlan, ZoneAttempt, attempt_lines, region_of
from ..core.deadline import Deadline
from ..core.durations import duration_words
from ..core.errors import CloudError
from ..core.model import Instance
from ..core.price import money
from ..core.profile import Profile
from ..targets import CreateOptions
from .context import BringUpContext
from .rollback import ROLLBACK_S, Rollback

log = logging.getLogger(__name__)
ROLLBACK_KEY = "created"


def find_or_create(
    context: BringUpContext, rollback: Rollback, deadline: Deadline, find: Callable[[], Instance], *, may_create: bool
) -> Instance:
    """The instance that ``find`` returns; if there is none, a new one that the profile's ``create`` describes.

    What an earlier `up` created and did not live to finish is used, or else deleted. Raises as ``find`` and
    ``Target.create``; ``UsageError`` ``confirmation-needed``.
    """
    created = _CreatedResources(context, rollback)
    try:
        instance = find()
    except CloudError as error:
        if error.code != "instance-not-found" or not may_create or context.confirm_creation is None:
            raise
        instance = created.create(deadline, error)
    else:
        instance = created.adopt(instance)
    return instance


def plan_lines(plan: CreationPlan, profile: Profile) -> Iterator[str]:
    """What the question before a creation says."""
    settings = plan.settings
    yield f"{plan.instance} does not exist in project {plan.project}. `up` creates it:"
    provisioning = {"standard": "", "spot": "Spot", "flex-start": "Flex-start"}[settings.provisioning]
    address = "an external address" if settings.external_address else "no external address (IAP)"
    disk = f"boot disk {plan.disk_gb} GB {settings.boot_disk.type}"
    yield ", ".join(filter(None, (plan.machine, provisioning, plan.image_name, disk, address)))
    zones = [zone.name for zone in plan.zones if not zone.skip]
    others = f", or else in {', '.join(zones[1:])}" if zones[1:] else ""
    yield f"In {zones[0]}{others}"
    for zone in plan.zones:
        if zone.skip:
            yield f"Not in {zone.name}: {zone.skip}"
    if settings.capacity_wait_s:
        yield f"Compute Engine waits for capacity for up to {duration_words(settings.capacity_wait_s)}"
    if plan.price is not None:
        hourly = money(plan.price.amount, plan.price.currency)
        yield f"An hour costs about {hourly} in {region_of(zones[0])} (list price)"
    yield _life_line(profile)
    yield from plan.notes


def _life_line(profile: Profile) -> str:
    if profile.target.kind == "demo":
        return "It costs nothing: all of it is on this computer"
    create, idle = profile.creation, profile.idle
    ends = []
    if idle.after_s is not None:
        ends.append(f"{idle.do.replace('-', 's the ', 1)} after {duration_words(idle.after_s)} without activity")
    if create is not None and create.max_run_s is not None:
        ends.append(f"Compute Engine stops it after {duration_words(create.max_run_s)}")
    if not ends:
        return "It runs, and costs money, until you stop it"
    first, *more = ends
    return "; ".join([f"`idle` {first}" if idle.after_s is not None else first, *more])


class _CreatedResources:
    """What this `up` and an unfinished one before it have asked for. It is saved before it is requested, and deleted if
    the `up` fails."""

    def __init__(self, context: BringUpContext, rollback: Rollback) -> None:
        self._context, self._rollback = context, rollback
        self._made = list(context.leftover_resources)
        self._undeleted: set[str] = set()  # zones with a failed instance that is still there
        if self._made:
            self._delete_on_failure()

    def adopt(self, instance: Instance) -> Instance:
        """``instance`` exists. What was made elsewhere is deleted at once: it is never used again."""
        strays = [each for each in self._made if each.kind == "instance" and each.zone != instance.zone]
        if strays:
            self._context.progress.step(f"Deleting {instance.name} of an earlier `up` in {strays[0].zone}")
            self._delete(strays)
        if any(each.kind == "instance" for each in self._made):
            return replace(instance, started_from=instance.started_from or STATUS_CREATED)
        return instance

    def create(self, deadline: Deadline, missing: CloudError) -> Instance:
        """Raises ``missing`` where the profile creates nothing."""
        context, progress = self._context, self._context.progress
        timeouts, first_zone = context.profile.timeouts, self._made[0].zone if self._made else ""
        within = deadline.within(timeouts.instance_s)
        plan = context.target.plan_creation(
            context.client_id, first_zone=first_zone, progress=progress, deadline=within
        )
        if plan is None or context.confirm_creation is None:
            raise missing
        for line in plan_lines(plan, context.profile):
            progress.note(line)
        context.confirm_creation(plan)
        progress.step(f"Creating {plan.instance}")
        zones = sum(not zone.skip for zone in plan.zones)
        limit = deadline.within(zones * timeouts.instance_s + plan.settings.capacity_wait_s)
        result = context.target.create(plan, CreateOptions(progress, limit, self._before_insert, self._after_zone))
        if len(result.attempts) > 1:
            for line in attempt_lines(result.attempts):
                progress.note(line)
        remains = [each for each in self._made if each.zone in self._undeleted]
        if result.resource is None:
            self._save(remains)
            return result.instance
        self._save([*remains, replace(result.resource, id=result.instance.id or "")])
        return replace(result.instance, started_from=STATUS_CREATED)

    def _before_insert(self, resource: CloudResource) -> None:
        self._save(
            [each for each in self._made if (each.kind, each.zone) != (resource.kind, resource.zone)] + [resource]
        )
        self._delete_on_failure()

    def _after_zone(self, attempt: ZoneAttempt) -> None:
        if attempt.remains:
            self._undeleted.add(attempt.zone)
        else:
            self._save([each for each in self._made if each.zone != attempt.zone])

    def _save(self, made: list[CloudResource]) -> None:
        self._made = made
        self._context.record(resources=tuple(made))
        if not made:
            self._rollback.discard(ROLLBACK_KEY)

    def _delete_on_failure(self) -> None:
        name = self._made[0].name
        self._rollback.push(f"deleting {name}", self._undo, done=f"deleted {name}", key=ROLLBACK_KEY)

    def _undo(self) -> None:
        settings = self._context.profile.creation
        if settings is not None and settings.keep_on_failure and not self._rollback.is_cancelled:
            kept = f"{self._made[0].name} keeps running and costs money: `create.keep_on_failure` is set"
            self._context.progress.note(kept)
            return
        self._delete(self._made)
        self._context.record(instance=None)

    def _delete(self, resources: list[CloudResource]) -> None:
        context = self._context
        context.target.delete_resources(
            resources, context.client_id, progress=context.progress, deadline=Deadline(ROLLBACK_S)
        )
        self._save([each for each in self._made if each not in resources])
