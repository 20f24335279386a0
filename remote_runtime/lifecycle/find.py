"""Find the machine: connect to its last address at once, and look it up, which takes a second or two, meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..core.creation import STATUS_CREATED
from ..core.deadline import Deadline
from ..core.errors import CloudError, RemoteRuntimeError
from ..core.model import Instance
from ..targets import FindOptions, LoginOptions, TargetSession
from .context import BringUpContext, ProgressSink
from .creation import find_or_create
from .lookup import find_and_renew_key
from .resources import Resources
from .rollback import ROLLBACK_S, Rollback, restore_on_failure

log = logging.getLogger(__name__)
# For the TCP connection and the SSH banner: more than a slow link takes, less than a look-up. A login may take longer.
RESPOND_WITHIN_S = 3.0


def try_last_address(context: BringUpContext, resources: Resources, deadline: Deadline) -> None:
    """Connect to the machine at the address it had last, if no other machine could pass for it there; look up in the
    background whether it is still the one that the profile names. Raises ``Interrupted``."""
    target, instance = context.target, context.last_instance
    if resources.instance is not None or instance is None or not instance.address:
        return
    if not target.has_pinned_host_key(instance):
        return
    if instance.access is not None and instance.access.two_factor:
        return  # each attempt prompts for a 2FA code: never in vain
    context.progress.step(f"Connecting to {instance.name} at its last address")
    resources.lookup.start(partial(find_and_renew_key, context, instance), context.profile.timeouts.instance_s)
    within = deadline.within(context.profile.timeouts.ssh_s)
    try:
        session = target.connect(instance, LoginOptions(context.progress, within, respond_within_s=RESPOND_WITHIN_S))
    except RemoteRuntimeError as error:
        if error.code == "interrupted":
            raise
        log.info("no connection to %s at its last address: %s: %s", instance.name, error.code, error)
        return
    report_connected(context.progress, session, instance)
    resources.attach_session(session, context.profile.ssh.keepalive_s, instance.address)
    resources.instance = replace(instance, status="RUNNING", started_from=None)
    context.record(instance=resources.instance)


def find_instance(
    context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline, *, start: bool
) -> Instance:
    """The machine, running. Raises as ``Target.find``."""
    if resources.instance is not None:
        return resources.instance
    context.progress.step(f"Finding {_describe_target(context)}")
    instance = _await_lookup(resources, deadline) or _find(context, resources, rollback, deadline, start=start)
    resources.instance = instance
    context.record(instance=instance)
    _report_found(context, instance)
    return instance


def _describe_target(context: BringUpContext) -> str:
    """The machine as the profile names it."""
    target = context.profile.target
    names = [getattr(target, key, None) for key in ("instance", "host")]
    return next(filter(None, names), {"gce": "the VM", "demo": "the demo VM"}.get(target.kind, "this computer"))


def report_connected(progress: ProgressSink, session: TargetSession, instance: Instance) -> None:
    """Nothing is shown for this computer."""
    if host_key := session.login_facts().get("host-key"):
        route = " through IAP" if instance.via == "iap" else ""
        progress.finish(f"Connected over SSH{route}, host key {host_key.partition(':')[0]}")


def _report_found(context: BringUpContext, instance: Instance) -> None:
    """Only a cloud's machine was looked for."""
    if instance.kind in ("gce", "demo"):
        verb = {None: "Found", "SUSPENDED": "Resumed", STATUS_CREATED: "Created"}.get(instance.started_from, "Started")
        context.progress.finish(f"{verb} {instance.name}" + (f" in {instance.zone}" if instance.zone else ""))


def apply_lookup(resources: Resources, progress: ProgressSink, record: Callable[..., None]) -> bool:
    """Apply the result of the background look-up, if it is there. Returns True if the profile means another instance
    by now; the connection is closed then."""
    instance = resources.take_lookup_result()
    if instance is None or resources.instance is None:
        return False
    is_another = instance.id != resources.instance.id
    resources.instance = instance = instance.with_route_of(resources.instance)
    record(instance=instance)
    if is_another:
        progress.note(f"{instance.name} was recreated (instance id {instance.id}); connecting to the new VM")
        resources.disconnect()
    return is_another


def _await_lookup(resources: Resources, deadline: Deadline) -> Instance | None:
    """The result of the background look-up; None if there is none, or if it failed: a stopped machine, for example, is
    then started by a look-up that may do so."""
    try:
        return resources.lookup.wait(deadline)
    except CloudError as error:
        log.info("the first look-up: %s: %s", error.code, error)
        return None
    finally:
        resources.lookup.close()


def _find(
    context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline, *, start: bool
) -> Instance:
    target, leftover = context.target, context.leftover_instance
    if not target.exists():
        rollback.push("", lambda: target.stop_demo(resources.instance, Deadline(ROLLBACK_S)))

    def on_start(instance: Instance) -> None:
        verb = "Resuming" if instance.started_from == "SUSPENDED" else "Starting"
        context.progress.step(f"{verb} {instance.name}")
        context.record(instance=instance)
        restore_on_failure(context, instance, rollback)

    def find() -> Instance:
        within = deadline.within(context.profile.timeouts.instance_s)
        return target.find(FindOptions(context.progress, within, start=start, on_start=on_start))

    instance = find_or_create(context, rollback, deadline, find, may_create=start)
    if leftover is not None and leftover.id == instance.id and instance.started_from is None:
        instance = replace(instance, started_from=leftover.started_from)
    return instance
