"""What ``compute`` does in its worker process: one function for each request, here and in the packages below."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ..core.access import LoginIdentity
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.model import Instance
from ..core.profile import GceTarget
from .client import gcloud_config, priority
from .client.api import open_api
from .creation.create import create as create
from .creation.delete import delete_resources as delete_resources
from .creation.labelled import find_by_label as find_by_label
from .creation.labelled import find_created as find_created
from .creation.plan import check_creation as check_creation
from .creation.plan import plan_creation as plan_creation
from .diagnosis.causes import diagnose as diagnose
from .instances import host_keys, power, search
from .instances.convert import (
    Connect,
    check_connectable,
    last_segment,
    to_instance,
)
from .instances.inventory import list_instances as list_instances
from .instances.inventory import list_projects as list_projects
from .instances.power import MayStart
from .login.access import grant_access as grant_access
from .login.access import revoke_access as revoke_access
from .machine_types.listing import list_machine_types as list_machine_types
from .moves.move import delete_old as delete_old
from .moves.move import move as move
from .moves.plan import plan_move as plan_move
from .prices.instance_price import instance_price as instance_price
from .prices.instance_price import update_prices as update_prices
from .readiness import ready_instance, with_sources
from .worker_protocol import TIMEOUT_HINT, ReadyOptions

Action = Literal["start", "resume", "stop", "suspend"]


def find(
    target: GceTarget,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    before_start: Callable[[Instance], None],
    host_keys_within_s: float = 120.0,
    in_background: bool = False,
    may_start: MayStart = "always",
    known_hosts: Collection[str] = (),
    login: LoginIdentity | None = None,
) -> Instance:
    """The running instance that ``target`` describes, with its address and the host keys that it publishes.

    An instance that is not running is started or resumed if ``target.start`` and ``may_start`` allow it: ``preempted``
    starts a Spot VM that Compute Engine preempted, but no VM that a person stopped. ``before_start`` is called with the
    instance and its ``started_from`` before the request is sent: ``restore_status`` can undo the start from then on.

    ``host_keys_within_s``: how long to wait for the host keys of a machine that has just started; those of the hosts in
    ``known_hosts`` (``compute.<id>``) are not waited for. ``login``: whose access is read. ``in_background``: runs at a
    lower priority.
    """
    if in_background:
        priority.run_in_background()
    api = open_api(environ, progress=progress, deadline=deadline)
    api.timeout_hint = TIMEOUT_HINT
    project = gcloud_config.project(target.project, environ, api.identity.project)
    zone = gcloud_config.zone(target.zone, environ)
    api.project = project.value
    zone_text = f", zone {zone.value}{_origin(zone.source)}" if zone else ", in any zone"
    api.progress(
        f"Finding {_describe_target(target)} in project {project.value}{_origin(project.source)}{zone_text}, "
        f"with {api.identity.source}"
    )
    raw = search.find_one(api, target, zone)
    check_connectable(raw, target.connect)
    poller = power.StatusPoller(api, to_instance(raw, api.project, target.connect), raw)
    was_running = poller.status == "RUNNING"
    started_from = power.ensure_running(
        poller,
        may_start=may_start if target.start else "never",
        before_start=before_start,
        forbidden_by_profile=not target.start,
    )
    options = ReadyOptions(target.connect, host_keys_within_s, known_hosts, login)
    instance = ready_instance(api, poller, options, was_running=was_running, started_from=started_from)
    return with_sources(instance, project, zone)


def reload(
    instance: Instance,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    connect: Connect = "auto",
) -> Instance:
    """``instance`` with its present status and address, and the host keys that it publishes now.

    The address is empty if it has none of the kind that ``connect`` asks for. Raises ``instance-not-found`` if the
    instance was deleted, or replaced by another one of the same name.
    """
    api = open_api(environ, progress=progress, deadline=deadline, project=instance.project or "")
    raw = power.reload(api, instance)
    now = replace(
        to_instance(raw, api.project, connect),
        kind=instance.kind,
        started_from=instance.started_from,
        access=instance.access,
        project_from=instance.project_from,
        zone_from=instance.zone_from,
        credentials_from=instance.credentials_from,
    )
    return replace(now, host_keys=host_keys.read_published(api, now, raw, wait_s=0.0))


def set_status(
    instance: Instance, action: Action, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> str:
    """Carries out ``action`` and returns the status reached; does nothing if the instance has it already.

    ``stop`` and ``suspend`` return ``STOPPING`` or ``SUSPENDING`` if the deadline passes before the instance is down.
    """
    poller = _poller(instance, progress, deadline, environ)
    if action in ("stop", "suspend"):
        return power.bring_down(poller, action, wait=True)
    power.ensure_running(poller, may_start="always", before_start=lambda _: None)
    return poller.status


def restore_status(instance: Instance, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]) -> str:
    """Stops or suspends an instance that remote-runtime started, to its ``started_from``; returns its status.

    Waits until the instance is stopping or suspending, not until it is down.
    """
    return power.restore_status(_poller(instance, progress, deadline, environ))


def missing_permissions(
    target: GceTarget,
    permissions: Sequence[str],
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> list[str]:
    """Those of ``permissions`` that the credentials lack on the instance that ``target`` means. Raises as ``find``."""
    api = open_api(environ, progress=progress, deadline=deadline)
    api.project = gcloud_config.project(target.project, environ, api.identity.project).value
    raw = search.find_one(api, target, gcloud_config.zone(target.zone, environ))
    granted = search.granted_permissions(api, raw.name, last_segment(raw.zone), permissions)
    return [permission for permission in permissions if permission not in granted]


HANDLERS: Mapping[str, Callable[..., Any]] = {
    handler.__name__: handler
    for handler in (
        find, reload, grant_access, revoke_access, set_status, restore_status, diagnose, missing_permissions,
        list_projects, list_instances, list_machine_types, instance_price, update_prices,
        check_creation, plan_creation, create, delete_resources, find_by_label, find_created,
        plan_move, move, delete_old,
    )
}  # fmt: skip


def _poller(
    instance: Instance, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> power.StatusPoller:
    api = open_api(environ, progress=progress, deadline=deadline, project=instance.project or "")
    return power.StatusPoller(api, instance, power.reload(api, instance))


def _origin(source: str) -> str:
    """Where a name was found that the profile does not have; the demo's are in no file."""
    return "" if source == "the profile" else f" (from {source})"


def _describe_target(target: GceTarget) -> str:
    return target.instance or "labels " + ", ".join(f"{key}={value}" for key, value in sorted(target.labels.items()))
