"""What the child process carries out; each function is what the one of the same name in ``compute`` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..core.access import AddedKey, Admission, Who
from ..core.callbacks import Tell
from ..core.deadline import Deadline
from ..core.errors import CloudError, RemoteRuntimeError
from ..core.model import Instance
from ..core.profile import GceTarget
from .client import gcloud_config
from .client.api import Api, connect
from .diagnosis import causes
from .instances import host_keys, power, search
from .instances.convert import as_instance, check_connectable, has_local_ssd, whereabouts
from .login import access as letting_in

if TYPE_CHECKING:
    from google.cloud import compute_v1


ALLOWS = "`timeouts.instance` in the profile, or `--timeout`, allows more"


def find(
    target: GceTarget,
    *,
    tell: Tell,
    deadline: Deadline,
    environ: Mapping[str, str],
    started: Callable[[Instance], None],
    host_keys_within_s: float,
    may_start: power.MayStart = "always",
    known: frozenset[str] = frozenset(),
    who: Who | None = None,
) -> Instance:
    api = connect(environ, tell=tell, deadline=deadline)
    api.allows = ALLOWS
    project = gcloud_config.project(target.project, environ, lambda: api.identity.project)
    zone = gcloud_config.zone(target.zone, environ)
    api.project = project.value
    where = f"project {project.value} (from {project.source})" + (
        f", zone {zone.value} (from {zone.source})" if zone else ", in any zone"
    )
    api.tell(f"Looking for {_wanted(target)} in {where}, with {api.identity.source}")
    raw = search.find_one(api, target, zone)
    check_connectable(raw, target.connect)
    watch = power.Watch(api, as_instance(raw, api.project, target.connect), raw)
    was_running = watch.status == "RUNNING"
    started_from = power.ensure_running(
        watch,
        may_start=may_start if target.start else "never",
        starting=started,
        forbidden_by_profile=not target.start,
    )
    instance = replace(as_instance(watch.raw, api.project, target.connect), started_from=started_from)
    if not instance.address and instance.via != "iap":
        raise _no_address(instance, target.connect)
    # A machine that has run for longer has published its keys, or never will.
    is_late = was_running and not _started_within(watch.raw, host_keys_within_s)
    wait_s = 0.0 if is_late or instance.host_key_name in known else host_keys_within_s
    keys = host_keys.published(api, instance, watch.raw, wait_s=wait_s)
    access = letting_in.look(api, environ, watch.raw, who) if who is not None else None
    if has_local_ssd(watch.raw):
        tell(f"{instance.name} has a Local SSD: what is on it is lost when the instance is stopped")
    found_zone = zone.source if zone is not None and zone.value == instance.zone else "the search in all zones"
    return replace(
        instance,
        host_keys=keys,
        access=access,
        project_from=project.source,
        zone_from=found_zone,
        credentials_from=api.identity.source,
    )


def admit(
    instance: Instance,
    who: Who,
    *,
    key: str,
    lifetime_s: float,
    former: tuple[AddedKey, ...],
    fresh: bool,
    adding: Callable[[AddedKey], None],
    tell: Tell,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> Admission:
    api = _api_for(instance, tell, deadline, environ)
    raw = power.same_instance(api, instance)
    wanted: dict[str, Any] = {"key": key, "lifetime_s": lifetime_s, "former": former, "fresh": fresh, "adding": adding}
    return letting_in.admit(api, environ, instance, raw, who, **wanted)


def withdraw(added: tuple[AddedKey, ...], *, tell: Tell, deadline: Deadline, environ: Mapping[str, str]) -> None:
    letting_in.withdraw(connect(environ, tell=tell, deadline=deadline), environ, added)


def read(
    instance: Instance, *, connect_by: str, tell: Tell, deadline: Deadline, environ: Mapping[str, str]
) -> Instance:
    api = _api_for(instance, tell, deadline, environ)
    raw = power.same_instance(api, instance)
    now = replace(
        as_instance(raw, api.project, connect_by),
        kind=instance.kind,
        started_from=instance.started_from,
        project_from=instance.project_from,
        zone_from=instance.zone_from,
        credentials_from=instance.credentials_from,
    )
    keys = host_keys.published(api, now, raw, wait_s=0.0)
    return replace(now, host_keys=keys, access=instance.access)


def change(instance: Instance, action: str, *, tell: Tell, deadline: Deadline, environ: Mapping[str, str]) -> str:
    watch = _watch(instance, tell, deadline, environ)
    if action in ("stop", "suspend"):
        return power.bring_down(watch, action, wait=True)
    power.ensure_running(watch, may_start="always", starting=lambda _: None)
    return watch.status


def put_back(instance: Instance, *, tell: Tell, deadline: Deadline, environ: Mapping[str, str]) -> str:
    return power.put_back(_watch(instance, tell, deadline, environ))


def diagnose(
    instance: Instance,
    code: str,
    *,
    connect_by: str,
    through_iap: RemoteRuntimeError | None,
    tell: Tell,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> list[RemoteRuntimeError]:
    api = _api_for(instance, tell, deadline, environ)
    return causes.causes(api, instance, code=code, connect=connect_by, through_iap=through_iap)


def _watch(instance: Instance, tell: Tell, deadline: Deadline, environ: Mapping[str, str]) -> power.Watch:
    api = _api_for(instance, tell, deadline, environ)
    return power.Watch(api, instance, power.same_instance(api, instance))


def _api_for(instance: Instance, tell: Tell, deadline: Deadline, environ: Mapping[str, str]) -> Api:
    api = connect(environ, tell=tell, deadline=deadline)
    api.project = instance.project or ""
    return api


def _started_within(raw: compute_v1.Instance, seconds: float) -> bool:
    try:
        since = datetime.fromisoformat(raw.last_start_timestamp.replace("Z", "+00:00"))
    except ValueError:
        return False
    return (datetime.now(timezone.utc) - since).total_seconds() < seconds


def _wanted(target: GceTarget) -> str:
    return target.instance or "labels " + ", ".join(f"{key}={value}" for key, value in sorted(target.labels.items()))


def _no_address(instance: Instance, connect_by: str) -> CloudError:
    kind = "internal" if connect_by == "internal" else "external"
    return CloudError(
        "no-address",
        f"{instance.name} has no {kind} address",
        "it runs, but Compute Engine shows none",
        f"See its interfaces: gcloud compute instances describe {whereabouts(instance)}",
    )
