"""Moves a VM that cannot start in its zone to another one, and cleans up after it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ..core.creation import region_of
from ..core.deadline import Deadline
from ..core.errors import CloudError, RemoteRuntimeError
from ..core.model import Instance
from ..core.move import SNAPSHOTS_S, MovePlan
from ..core.price import HourlyPrice, money
from ..core.shell_command import shell_command
from ..targets import Target
from .context import BringUpContext, MayMove, ProgressSink
from .created import CreatedResources

log = logging.getLogger(__name__)
NO_ROOM_CODES = ("no-capacity", "quota-exceeded")
PRICE_S, DELETE_S = 20.0, 180.0


def move(
    context: BringUpContext, created: CreatedResources, deadline: Deadline, cause: CloudError, may_move: MayMove
) -> Instance:
    """The new instance, after its start in the old zone failed with ``cause``. Raises ``CloudError``
    ``instance-not-movable`` or as ``Target.create``; ``UsageError`` ``confirmation-needed``."""
    progress, target, timeouts = context.progress, context.target, context.profile.timeouts
    created.delete_strays()  # of a move that was interrupted
    quota = cause.why if cause.code == "quota-exceeded" else ""
    progress.step("Planning the move to another zone")
    within = deadline.within(timeouts.instance_s)
    plan = target.plan_move(
        context.client_id, delete_old=may_move.delete_old, quota=quota, progress=progress, deadline=within
    )
    for line in plan_lines(plan, cause, _price(target, plan, deadline), delete_old=may_move.delete_old):
        progress.note(line)
    may_move.confirm(plan)
    name, zones = plan.creation.instance, [zone for zone in plan.creation.zones if not zone.skip]
    created.old = old_instance(plan)
    progress.step(f"Moving {name} out of {plan.old_zone}")
    limit = deadline.within(SNAPSHOTS_S + len(zones) * timeouts.instance_s + plan.creation.settings.capacity_wait_s)
    instance = created.finish(target.move(plan, created.options(limit)))
    progress.finish(f"Moved {name} out of {plan.old_zone}")
    may_move.on_moved(plan)
    return instance


def plan_lines(plan: MovePlan, cause: CloudError, price: HourlyPrice | None, *, delete_old: bool) -> Iterator[str]:
    """What the question before a move says."""
    creation, disks = plan.creation, plan.disks
    yield f"{creation.instance} can't start in {plan.old_zone}: {cause.why or cause.what}"
    zones = [zone.name for zone in creation.zones if not zone.skip]
    others = f", or else in {', '.join(zones[1:])}" if zones[1:] else ""
    yield f"`up --move` creates the same VM in {zones[0]}{others}: {creation.machine}"
    sizes = ", ".join(f"{disk.name} ({disk.size_gb} GB {disk.type})" for disk in disks)
    yield f"Its disk{'s are' if len(disks) > 1 else ' is'} copied through snapshots: {sizes}"
    for zone in creation.zones:
        if zone.skip:
            yield f"Not in {zone.name}: {zone.skip}"
    yield from plan.changes
    if price is not None:
        yield f"An hour costs about {money(price.amount, price.currency)} (list price), as before"
    if not delete_old:
        yield f"The old VM stays in {plan.old_zone}, stopped; its disks cost money until you delete it"
        return
    gone = [disk.name for disk in disks if disk.auto_delete]
    kept = [disk.name for disk in disks if not disk.auto_delete]
    remain = f"; its disk{'s' * (len(kept) > 1)} {', '.join(kept)} will remain there" if kept else ""
    with_disks = f" and its disk{'s' * (len(gone) > 1)} {', '.join(gone)}" if gone else ""
    yield f"The old VM in {plan.old_zone}{with_disks} will be deleted when the new one is ready{remain}"


def old_instance(plan: MovePlan) -> Instance:
    name, project = plan.creation.instance, plan.creation.project
    return Instance("gce", name, id=plan.old_id, zone=plan.old_zone, project=project, status="TERMINATED")


def finish_move(plan: MovePlan, target: Target, progress: ProgressSink, *, delete_old: bool) -> None:
    """The new VM is ready: deletes the old one, or says that it stays. A failure is a note: the runtime works."""
    name, zone = plan.creation.instance, plan.old_zone
    if not delete_old:
        progress.note(f"The old {name} stays in {zone}, stopped; its disks cost money. To delete it: {_by_hand(plan)}")
        return
    progress.step(f"Deleting the old {name} in {zone}", f"Deleted the old {name} in {zone}")
    try:
        kept = target.delete_old(plan, progress=progress, deadline=Deadline(DELETE_S))
    except RemoteRuntimeError as error:
        log.warning("the old instance stays: %s", error)
        progress.fail()
        progress.note(f"The old {name} stays in {zone}: {error}. To delete it: {_by_hand(plan)}")
        return
    progress.finish(f"Deleted the old {name} in {zone}")
    if kept:
        verbs = "s {} remain and cost" if len(kept) > 1 else " {} remains and costs"
        progress.note(f"In {zone} its disk{verbs.format(', '.join(kept))} money")


def _by_hand(plan: MovePlan) -> str:
    where = (f"--zone={plan.old_zone}", f"--project={plan.creation.project}")
    return shell_command("gcloud", "compute", "instances", "delete", plan.creation.instance, *where)


def _price(target: Target, plan: MovePlan, deadline: Deadline) -> HourlyPrice | None:
    """Of an hour in the old zone's region, if the first new zone is there too."""
    first = next(zone.name for zone in plan.creation.zones if not zone.skip)
    if region_of(first) != region_of(plan.old_zone):
        return None
    old = old_instance(plan)
    try:
        return target.hourly_price(old, deadline.within(PRICE_S))
    except RemoteRuntimeError as error:
        if error.code == "interrupted":
            raise
        log.info("the price of %s is not known: %s", old.name, error)
        return None
