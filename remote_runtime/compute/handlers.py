"""What the child process carries out; each function is what the one of the same name in ``compute`` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..core.access import AccessGrant, InstalledKey, LoginIdentity
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import CloudError, RemoteRuntimeError
from ..core.model import Instance
from ..core.profile import GceTarget
from .client import gcloud_config
from .client.api import Api, open_api
from .diagnosis import causes
from .instances import host_keys, power, search
from .instances.convert import check_connectable, gcloud_args, has_local_ssd, to_instance
from .login import access as letting_in

if TYPE_CHECKING:
    from google.cloud import compute_v1

TIMEOUT_HINT = "`timeouts.instance` in the profile, or `--timeout`, allows more"


def find(
    target: GceTarget,
    *,
    tell: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    started: Callable[[Instance], None],
    host_keys_within_s: float,
    may_start: power.MayStart = "always",
    known: frozenset[str] = frozenset(),
    who: LoginIdentity | None = None,
) -> Instance:
    api = open_api(environ, progress=tell, deadline=deadline)
    api.timeout_hint = TIMEOUT_HINT
    project = gcloud_config.project(target.project, environ, lambda: api.identity.project)
    zone = gcloud_config.zone(target.zone, environ)
    api.project = project.value
    where = f"project {project.value} (from {project.source})" + (
        f", zone {zone.value} (from {zone.source})" if zone else ", in any zone"
    )
    api.progress(f"Looking for {_describe_target(target)} in {where}, with {api.identity.source}")
    raw = search.find_one(api, target, zone)
    check_connectable(raw, target.connect)
    poller = power.StatusPoller(api, to_instance(raw, api.project, target.connect), raw)
    was_running = poller.status == "RUNNING"
    started_from = power.ensure_running(
        poller,
        may_start=may_start if target.start else "never",
        before_start=started,
        forbidden_by_profile=not target.start,
    )
    instance = replace(to_instance(poller.raw, api.project, target.connect), started_from=started_from)
    if not instance.address and instance.via != "iap":
        raise _no_address_error(instance, target.connect)
    # A machine that has run for longer has published its keys, or never will.
    is_late = was_running and not _started_within(poller.raw, host_keys_within_s)
    wait_s = 0.0 if is_late or instance.host_key_name in known else host_keys_within_s
    keys = host_keys.read_published(api, instance, poller.raw, wait_s=wait_s)
    access = letting_in.read_access(api, environ, poller.raw, who) if who is not None else None
    if has_local_ssd(poller.raw):
        tell(f"{instance.name} has a Local SSD: what is on it is lost when the instance is stopped")
    zone_source = zone.source if zone is not None and zone.value == instance.zone else "the search in all zones"
    return replace(
        instance,
        host_keys=keys,
        access=access,
        project_from=project.source,
        zone_from=zone_source,
        credentials_from=api.identity.source,
    )


def grant_access(
    instance: Instance,
    who: LoginIdentity,
    *,
    key: str,
    lifetime_s: float,
    former: tuple[InstalledKey, ...],
    fresh: bool,
    adding: Callable[[InstalledKey], None],
    tell: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> AccessGrant:
    api = _api_for(instance, tell, deadline, environ)
    raw = power.reload(api, instance)
    wanted: dict[str, Any] = {"key": key, "lifetime_s": lifetime_s, "former": former, "fresh": fresh, "adding": adding}
    return letting_in.grant_access(api, environ, instance, raw, who, **wanted)


def revoke_access(
    added: tuple[InstalledKey, ...], *, tell: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> None:
    letting_in.revoke_access(open_api(environ, progress=tell, deadline=deadline), environ, added)


def reload(
    instance: Instance, *, connect_by: str, tell: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> Instance:
    api = _api_for(instance, tell, deadline, environ)
    raw = power.reload(api, instance)
    now = replace(
        to_instance(raw, api.project, connect_by),
        kind=instance.kind,
        started_from=instance.started_from,
        project_from=instance.project_from,
        zone_from=instance.zone_from,
        credentials_from=instance.credentials_from,
    )
    keys = host_keys.read_published(api, now, raw, wait_s=0.0)
    return replace(now, host_keys=keys, access=instance.access)


def set_status(
    instance: Instance, action: str, *, tell: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> str:
    poller = _poller(instance, tell, deadline, environ)
    if action in ("stop", "suspend"):
        return power.bring_down(poller, action, wait=True)
    power.ensure_running(poller, may_start="always", before_start=lambda _: None)
    return poller.status


def restore_status(instance: Instance, *, tell: Progress, deadline: Deadline, environ: Mapping[str, str]) -> str:
    return power.restore_status(_poller(instance, tell, deadline, environ))


def diagnose(
    instance: Instance,
    code: str,
    *,
    connect_by: str,
    through_iap: RemoteRuntimeError | None,
    tell: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> list[RemoteRuntimeError]:
    api = _api_for(instance, tell, deadline, environ)
    return causes.find_causes(api, instance, code=code, connect=connect_by, through_iap=through_iap)


def _poller(
    instance: Instance, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> power.StatusPoller:
    api = _api_for(instance, progress, deadline, environ)
    return power.StatusPoller(api, instance, power.reload(api, instance))


def _api_for(instance: Instance, progress: Progress, deadline: Deadline, environ: Mapping[str, str]) -> Api:
    api = open_api(environ, progress=progress, deadline=deadline)
    api.project = instance.project or ""
    return api


def _started_within(raw: compute_v1.Instance, seconds: float) -> bool:
    try:
        since = datetime.fromisoformat(raw.last_start_timestamp.replace("Z", "+00:00"))
    except ValueError:
        return False
    return (datetime.now(timezone.utc) - since).total_seconds() < seconds


def _describe_target(target: GceTarget) -> str:
    return target.instance or "labels " + ", ".join(f"{key}={value}" for key, value in sorted(target.labels.items()))


def _no_address_error(instance: Instance, connect_by: str) -> CloudError:
    kind = "internal" if connect_by == "internal" else "external"
    return CloudError(
        "no-address",
        f"{instance.name} has no {kind} address",
        "it runs, but Compute Engine shows none",
        f"See its interfaces: gcloud compute instances describe {gcloud_args(instance)}",
    )


def missing_permissions(
    target: GceTarget, permissions: Sequence[str], *, tell: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> list[str]:
    """Those of ``wanted`` that the credentials lack on the instance that ``target`` means. Raises as ``find``."""
    api = open_api(environ, progress=tell, deadline=deadline)
    api.project = gcloud_config.project(target.project, environ, lambda: api.identity.project).value
    raw = search.find_one(api, target, gcloud_config.zone(target.zone, environ))
    request = {
        "project": api.project,
        "zone": raw.zone.rsplit("/", 1)[-1],
        "resource": raw.name,
        "test_permissions_request_resource": {"permissions": list(permissions)},
    }
    answer = api.call(api.instances.test_iam_permissions, request, doing=f"ask for the permissions on {raw.name}")
    granted = set(answer.permissions)
    return [permission for permission in permissions if permission not in granted]
