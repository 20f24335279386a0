"""Which machine it is: the one that was entered last, the one that a look-up finds, or another one by now."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..core.deadline import Deadline
from ..core.errors import CloudError
from ..core.model import Instance
from ..targets import KeyPolicy
from . import debts, last_known
from .context import BringUpContext
from .resources import Resources
from .rollback import ROLLBACK_S, Rollback

log = logging.getLogger(__name__)


def try_last_address(context: BringUpContext, resources: Resources, deadline: Deadline) -> None:
    """The last known machine, if it is still there. The look-up that tells whether the profile still means it takes a
    second or two, and goes on meanwhile."""
    target, last_instance = context.target, context.last_instance
    if resources.instance is not None or resources.is_connected() or last_instance is None:
        return
    if not last_known.has_pinned_host_key(target, last_instance):
        return
    context.progress.step(f"Connecting to {last_instance.name} where it was last")
    key_policy = KeyPolicy(
        lambda keys: context.record(keys=keys), lambda access, keys: context.record(keys=keys), renew=True
    )
    resources.lookup = last_known.start_lookup(
        target, last_instance, key_policy if context.may_install_key else None, context.keys
    )
    session = last_known.connect_at_last_address(target, last_instance, progress=context.progress, deadline=deadline)
    if session is None:
        return
    resources.attach_session(session, context.profile.ssh.keepalive_s, last_instance.address)
    resources.instance = replace(last_instance, status="RUNNING", started_from=None)
    context.record(instance=resources.instance)


def apply_lookup(context: BringUpContext, resources: Resources) -> bool:
    """Goes by what the look-up says, if it has an answer: whether the link was dropped, because another instance is
    meant now."""
    instance = resources.take_lookup_result()
    if instance is None or resources.instance is None:
        return False
    is_another = instance.id != resources.instance.id
    resources.instance = instance = instance.with_route_of(resources.instance)
    context.record(instance=instance)
    if is_another:
        context.progress.note(f"{instance.name} is another instance now (id {instance.id})")
        resources.disconnect()
    return is_another


def find_instance(
    context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline, *, start: bool
) -> None:
    """The machine, running. Raises as ``Machines.find``."""
    if resources.instance is not None or resources.is_connected():
        return
    target = context.target
    context.progress.step("Finding the machine")
    if resources.lookup is not None and (found := _await_lookup(resources, deadline)):
        resources.instance = found
        context.record(instance=found)
        return
    if not target.exists():
        rollback.push("", lambda: target.stop_demo(resources.instance, Deadline(ROLLBACK_S)))

    def on_start(instance: Instance) -> None:
        context.record(instance=instance)
        debts.restore_on_failure(context, instance, rollback)

    within = deadline.within(context.profile.timeouts.instance_s)
    found = target.find(start=start, progress=context.progress, deadline=within, on_start=on_start)
    if (
        context.leftover_instance is not None
        and context.leftover_instance.id == found.id
        and found.started_from is None
    ):
        found = replace(found, started_from=context.leftover_instance.started_from)
    resources.instance = found
    context.record(instance=found)


def _await_lookup(resources: Resources, deadline: Deadline) -> Instance | None:
    """What the look-up under way finds; None when it has to be done anew, for example because the machine is to be
    started."""
    lookup, resources.lookup = resources.lookup, None
    if lookup is None:
        return None
    try:
        return lookup.wait(deadline)
    except CloudError as error:
        log.info("the first look-up: %s: %s", error.code, error)
        return None
    finally:
        lookup.close()
