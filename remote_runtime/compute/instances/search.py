"""Finds the instance that a profile names: by name in a zone, by name or labels in the whole project."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.creation import CREATED_BY_LABEL
from ...core.errors import CloudError
from ...core.fast_dataclass import fast_dataclass
from ...core.move import MOVED_FROM_LABEL, old_id_in, origin_in
from ...core.profile import GceTarget
from ...core.shell_command import shell_command
from ..client.api import Api
from ..client.error_mapping import InvalidRequest, NotFound
from ..client.gcloud_config import SourcedValue
from .convert import check_names, clean_name, last_segment, parse_time, status_of, unreachable_zones_in

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

PAGE_SIZE = 500
UP = ("PROVISIONING", "STAGING", "RUNNING", "REPAIRING", "PENDING")
# Similar names are taken from MAX_INSTANCES; an error lists MAX_SHOWN matches, or MAX_NAMED others.
MAX_INSTANCES = 2000
MAX_SHOWN = 10
MAX_NAMED = 5


@fast_dataclass(frozen=True)
class InstanceListing:
    """``unreachable_zones``: zones that did not answer, so that their instances are missing."""

    instances: tuple[compute_v1.Instance, ...]
    unreachable_zones: tuple[str, ...] = ()


def find_one(api: Api, target: GceTarget, zone: SourcedValue | None) -> compute_v1.Instance:
    """The one instance that ``target`` describes in ``api.project``.

    Only the profile's zone is searched; a zone from elsewhere is searched first. An instance that `up` created is found
    in any zone, and of several the one that ran first; one that `up` moved is found by the zone that it came from.
    Raises ``CloudError``: ``instance-not-found`` with similar names, or ``instance-ambiguous`` with all matches.
    """
    strict = zone is not None and target.zone is not None
    if target.instance and zone is not None:
        try:
            raw = get(api, target.instance, zone.value)
            return raw if raw.status in UP else _moved(api, raw) or raw
        except NotFound as exc:
            if strict and target.create is None:
                if moved := _moved_out_of(api, target.instance, zone.value):
                    return moved
                raise _not_found_error(api, target, zone, exc) from exc
    listing = list_all(api, _filter(target))
    found = _without_moved(raw for raw in listing.instances if _matches(raw, target))
    unreachable = listing.unreachable_zones
    created = [raw for raw in found if CREATED_BY_LABEL in raw.labels] if target.create is not None else []
    if strict and zone is not None:
        found = created or [raw for raw in found if last_segment(raw.zone) == zone.value]
        if target.create is None:
            unreachable = tuple(each for each in unreachable if each == zone.value)
    if len(created) == len(found):  # two clients created it at once, and one has not deleted its own yet
        found = sorted(created, key=age_key)[:1]
    if len(found) > 1:
        raise _ambiguous_error(target, found)
    if not found and unreachable:
        raise _zones_unavailable_error(target, unreachable)
    if not found:
        raise _not_found_error(api, target, zone if strict else None, None)
    check_names(found[0], api.endpoint)
    if unreachable:
        api.progress(f"Skipped {', '.join(unreachable)}: Compute Engine does not respond for these zones")
    return found[0]


def _moved(api: Api, old: compute_v1.Instance) -> compute_v1.Instance | None:
    """What ``old``, which does not run, was moved to; None without the permission to list instances."""
    try:
        listed = list_all(api, f'name = "{old.name}"').instances
    except CloudError as error:
        if error.code != "permission-denied":
            raise
        api.progress(f"Whether {old.name} was moved is not known: {error.what}")
        return None
    found = _without_moved([old, *(raw for raw in listed if raw.name == old.name and raw.id != old.id)])
    moved = [raw for raw in found if MOVED_FROM_LABEL in raw.labels]
    return _checked(api, moved[0]) if len(moved) == 1 and old not in found else None


def _moved_out_of(api: Api, name: str, zone: str) -> compute_v1.Instance | None:
    """What was moved out of ``zone``, where the old one does not exist any more."""
    found = [raw for raw in _without_moved(list_all(api, f'name = "{name}"').instances) if raw.name == name]
    moved = [raw for raw in found if origin_in(raw.labels.get(MOVED_FROM_LABEL, "")) == zone]
    return _checked(api, moved[0]) if len(moved) == 1 else None


def _without_moved(found: Iterable[compute_v1.Instance]) -> list[compute_v1.Instance]:
    """``found`` without those that do not run and were moved to another of them."""
    rest = list(found)
    moved = {old_id_in(raw.labels[MOVED_FROM_LABEL]) for raw in rest if MOVED_FROM_LABEL in raw.labels}
    return [raw for raw in rest if raw.status in UP or str(raw.id) not in moved]


def _checked(api: Api, raw: compute_v1.Instance) -> compute_v1.Instance:
    check_names(raw, api.endpoint)
    return raw


def age_key(raw: compute_v1.Instance) -> tuple[bool, float, int]:
    """The instance that ran first comes first, for every client. One that does not run yet may never: it comes last."""
    started_at = parse_time(raw.last_start_timestamp) if raw.status == "RUNNING" else None
    moment = started_at or parse_time(raw.creation_timestamp)
    return started_at is None, moment.timestamp() if moment else 0.0, int(raw.id)


def get(api: Api, name: str, zone: str) -> compute_v1.Instance:
    """Raises ``NotFound`` if the zone has no such instance."""
    request = {"project": api.project, "zone": zone, "instance": name}
    raw = _call(api, api.instances.get, request, doing=f"read the instance {name}")
    check_names(raw, api.endpoint)
    return raw


def granted_permissions(api: Api, name: str, zone: str, permissions: Iterable[str]) -> set[str]:
    """Those of ``permissions`` that the credentials have on the instance."""
    request = {
        "project": api.project,
        "zone": zone,
        "resource": name,
        "test_permissions_request_resource": {"permissions": list(permissions)},
    }
    answer = api.call(api.instances.test_iam_permissions, request, doing=f"read the permissions on {name}")
    return set(answer.permissions)


def _filter(target: GceTarget) -> str:
    if target.instance:
        return f'name = "{target.instance}"'
    terms = [f"labels.{key}={value}" if value else f"labels.{key}:*" for key, value in sorted(target.labels.items())]
    return terms[0] if len(terms) == 1 else " ".join(f"({term})" for term in terms)


def _matches(raw: compute_v1.Instance, target: GceTarget) -> bool:
    """The API's filters match patterns; a profile's names and labels are exact."""
    if target.instance:
        return bool(raw.name == target.instance)
    return all(raw.labels.get(key) == value for key, value in target.labels.items())


def list_all(api: Api, expression: str) -> InstanceListing:
    """The project's instances that match the filter ``expression``, all if it is empty; by name and zone."""

    def every_page(*, request: dict[str, Any], retry: None, timeout: float) -> InstanceListing:
        instances: list[compute_v1.Instance] = []
        unreachable: set[str] = set()
        for page in api.instances.aggregated_list(request=request, retry=retry, timeout=timeout).pages:
            unreachable |= unreachable_zones_in(page)
            for _, scope in sorted(page.items.items()):
                instances += scope.instances
            if len(instances) >= MAX_INSTANCES:
                break
        instances.sort(key=lambda raw: (raw.name, raw.zone))
        return InstanceListing(tuple(instances[:MAX_INSTANCES]), tuple(sorted(unreachable)))

    listing: Callable[..., InstanceListing] = every_page
    request = {"project": api.project, "max_results": PAGE_SIZE} | ({"filter": expression} if expression else {})
    return _call(api, listing, request, doing=f"list the instances of project {api.project}")


def _call(api: Api, method: Callable[..., T], request: dict[str, Any], *, doing: str) -> T:
    """Raises ``NotFound`` also for a name, zone or project that cannot exist."""
    try:
        return api.call(method, request, doing=doing)
    except InvalidRequest as exc:
        raise NotFound("instance-not-found", exc.what, exc.why) from exc


def _zones_unavailable_error(target: GceTarget, zones: Sequence[str]) -> CloudError:
    wanted = f"instance {target.instance}" if target.instance else "instance with the profile's labels"
    return CloudError(
        "cloud-unreachable",
        f"Compute Engine does not respond for {', '.join(zones)}",
        f"there is no {wanted} in the zones that responded",
        "Try again later; https://status.cloud.google.com shows outages",
    )


def _not_found_error(api: Api, target: GceTarget, zone: SourcedValue | None, exc: NotFound | None) -> CloudError:
    where = f"project {api.project}" + (f", zone {zone.value}" if zone else ", in any zone")
    labels = ", ".join(f"{key}={value}" for key, value in target.labels.items())
    what = f"No instance {target.instance or f'with the labels {labels}'} in {where}"
    try:
        others = list_all(api, "")
    except NotFound as missing:
        # The project does not exist.
        return CloudError("instance-not-found", what, missing.why, "List your projects with `gcloud projects list`")
    elsewhere = [last_segment(raw.zone) for raw in others.instances if raw.name == target.instance]
    if elsewhere:
        why = f"it is in {' and '.join(elsewhere)}"
        return CloudError("instance-not-found", what, why, f"Set `target.zone: {elsewhere[0]}`, or remove the zone")
    names = list(dict.fromkeys(clean_name(raw.name) for raw in others.instances))
    similar = difflib.get_close_matches(target.instance or "", names, n=MAX_NAMED, cutoff=0.5)
    unseen = f"; {', '.join(others.unreachable_zones)} did not respond" if others.unreachable_zones else ""
    why = exc.why if exc and not names else f"{_named(api.project, others.instances, similar)}{unseen}"
    list_command = shell_command("gcloud", "compute", "instances", "list", f"--project={api.project}")
    hint = f"Did you mean {similar[0]}? Set `target.instance: {similar[0]}`" if similar else f"Run {list_command}"
    return CloudError("instance-not-found", what, why, hint)


def _named(project: str, instances: Sequence[compute_v1.Instance], first: Sequence[str]) -> str:
    """Which instances the project has; those called as ``first`` are shown first."""
    if not instances:
        return f"Project {project} has no instances"
    order = {name: rank for rank, name in enumerate(first)}
    ranked = sorted(instances, key=lambda raw: order.get(clean_name(raw.name), len(order)))
    shown = [f"{clean_name(raw.name)} ({last_segment(raw.zone)}, {status_of(raw)})" for raw in ranked[:MAX_NAMED]]
    more = f" and {len(ranked) - MAX_NAMED} more" if len(ranked) > MAX_NAMED else ""
    return f"Instances in {project}: {', '.join(shown)}{more}"


def _ambiguous_error(target: GceTarget, found: Sequence[compute_v1.Instance]) -> CloudError:
    shown = [f"{clean_name(raw.name)} in {last_segment(raw.zone)} ({status_of(raw)})" for raw in found[:MAX_SHOWN]]
    more = f", and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
    wanted = f"the name {target.instance}" if target.instance else "the profile's labels"
    return CloudError(
        "instance-ambiguous",
        f"{len(found)} instances match {wanted}",
        ", ".join(shown) + more,
        "Set `target.zone`" if target.instance else "Set `target.instance`, or more `target.labels`",
    )
