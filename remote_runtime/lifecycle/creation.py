"""Creates the VM that a profile describes and that does not exist, and deletes it again if the `up` fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..core.creation import CreationPlan, region_of
from ..core.deadline import Deadline
from ..core.durations import duration_words
from ..core.errors import CloudError
from ..core.model import Instance
from ..core.price import money
from ..core.profile import Profile
from .context import BringUpContext
from .created import CreatedResources
from .move import NO_ROOM_CODES, move
from .rollback import Rollback


def find_or_create(
    context: BringUpContext, rollback: Rollback, deadline: Deadline, find: Callable[[], Instance], *, may_create: bool
) -> Instance:
    """The instance that ``find`` returns; if there is none, a new one that the profile's ``create`` describes. One that
    cannot start where it is moves to another zone, if the user asks for that.

    What an earlier `up` created and did not live to finish is used, or else deleted. Raises as ``find`` and
    ``Target.create``; ``UsageError`` ``confirmation-needed``.
    """
    created = CreatedResources(context, rollback)
    try:
        instance = _find(find, created)
    except CloudError as error:
        if may_create and error.code in NO_ROOM_CODES and context.may_move is not None:
            return move(context, created, deadline, error, context.may_move)
        if error.code != "instance-not-found" or not may_create or context.confirm_creation is None:
            raise
        return _create(context, created, deadline, error)
    return created.adopt(instance)


def _find(find: Callable[[], Instance], created: CreatedResources) -> Instance:
    """What an earlier `up` had begun can cease to exist while it is waited for; another one may be meant then."""
    try:
        return find()
    except CloudError as error:
        if error.code != "instance-not-found" or not created.first_zone:
            raise
    return find()


def _create(context: BringUpContext, created: CreatedResources, deadline: Deadline, missing: CloudError) -> Instance:
    """Raises ``missing`` where the profile creates nothing."""
    progress, timeouts = context.progress, context.profile.timeouts
    within = deadline.within(timeouts.instance_s)
    plan = context.target.plan_creation(
        context.client_id, first_zone=created.first_zone, progress=progress, deadline=within
    )
    if plan is None or context.confirm_creation is None:
        raise missing
    for line in plan_lines(plan, context.profile):
        progress.note(line)
    context.confirm_creation(plan)
    progress.step(f"Creating {plan.instance}")
    zones = sum(not zone.skip for zone in plan.zones)
    limit = deadline.within(zones * timeouts.instance_s + plan.settings.capacity_wait_s)
    return created.finish(context.target.create(plan, created.options(limit)))


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
