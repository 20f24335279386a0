"""Which instance a profile means: by name in a zone, by name or labels in the whole project."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.errors import CloudError
from ...core.frozen import dataclass
from ...core.profile import GceTarget
from ..client.api import Api
from ..client.error_mapping import NotThere, Refused
from ..client.gcloud_config import Setting
from .convert import check_names, missed_in, status_of, word

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

PAGE_SIZE = 500
# Near misses are looked for among this many instances, and at most this many that fit are listed.
INSTANCES_LIMIT = 2000
SHOWN_LIMIT = 10


@dataclass(frozen=True)
class Listing:
    """``missed``: zones that did not answer, so that their instances are not among these."""

    instances: tuple[compute_v1.Instance, ...]
    missed: tuple[str, ...] = ()


def find_one(api: Api, target: GceTarget, zone: Setting | None) -> compute_v1.Instance:
    """The one instance that ``target`` means in ``api.project``.

    A zone from the profile is the only one looked at; any other is looked at first. Raises ``CloudError``
    ``instance-not-found`` with what is similar, or ``instance-ambiguous`` with all that fit.
    """
    strict = zone is not None and target.zone is not None
    if target.instance and zone is not None:
        try:
            return get(api, target.instance, zone.value)
        except NotThere as exc:
            if strict:
                raise _not_found(api, target, zone, exc) from exc
    listing = every(api, _filter(target))
    found, missed = [raw for raw in listing.instances if _fits(raw, target)], listing.missed
    if strict and zone is not None:
        found = [raw for raw in found if _zone(raw) == zone.value]
        missed = tuple(each for each in missed if each == zone.value)
    if len(found) > 1:
        raise _ambiguous(target, found)
    if not found and missed:
        raise _not_looked(target, missed)
    if not found:
        raise _not_found(api, target, zone if strict else None, None)
    check_names(found[0], api.endpoint)
    if missed:
        api.tell(f"Not looked for in {', '.join(missed)}: Compute Engine does not answer there")
    return found[0]


def get(api: Api, name: str, zone: str) -> compute_v1.Instance:
    """Raises ``NotThere`` when the zone has no such instance."""
    request = {"project": api.project, "zone": zone, "instance": name}
    raw = _look(api, api.instances.get, request, doing=f"read the instance {name}")
    check_names(raw, api.endpoint)
    return raw


def _filter(target: GceTarget) -> str:
    if target.instance:
        return f'name = "{target.instance}"'
    terms = [f"labels.{key}={value}" if value else f"labels.{key}:*" for key, value in sorted(target.labels.items())]
    return terms[0] if len(terms) == 1 else " ".join(f"({term})" for term in terms)


def _fits(raw: compute_v1.Instance, target: GceTarget) -> bool:
    """Filters match patterns; a profile means exactly what it says."""
    if target.instance:
        return bool(raw.name == target.instance)
    return all(raw.labels.get(key) == value for key, value in target.labels.items())


def every(api: Api, expression: str) -> Listing:
    """The project's instances that fit the filter ``expression``, all if it is empty, by name and zone."""

    def every_page(*, request: dict[str, Any], retry: None, timeout: float) -> Listing:
        instances: list[compute_v1.Instance] = []
        missed: set[str] = set()
        for page in api.instances.aggregated_list(request=request, retry=retry, timeout=timeout).pages:
            missed |= missed_in(page)
            for _, scope in sorted(page.items.items()):
                instances += scope.instances
            if len(instances) >= INSTANCES_LIMIT:
                break
        instances.sort(key=lambda raw: (raw.name, raw.zone))
        return Listing(tuple(instances[:INSTANCES_LIMIT]), tuple(sorted(missed)))

    listing: Callable[..., Listing] = every_page
    request = {"project": api.project, "max_results": PAGE_SIZE} | ({"filter": expression} if expression else {})
    return _look(api, listing, request, doing=f"list the instances of project {api.project}")


def _look(api: Api, method: Callable[..., T], request: dict[str, Any], *, doing: str) -> T:
    """Raises ``NotThere`` also for a name, zone or project that cannot exist."""
    try:
        return api.call(method, request, doing=doing)
    except Refused as exc:
        raise NotThere("instance-not-found", exc.what, exc.why) from exc


def _not_looked(target: GceTarget, missed: Sequence[str]) -> CloudError:
    wanted = f"instance {target.instance}" if target.instance else "instance with the profile's labels"
    return CloudError(
        "cloud-unreachable",
        f"Compute Engine does not answer for {', '.join(missed)}",
        f"there is no {wanted} in the zones that answered",
        "Try again later. See which zones are up: https://status.cloud.google.com",
    )


def _not_found(api: Api, target: GceTarget, zone: Setting | None, exc: NotThere | None) -> CloudError:
    where = f"project {api.project}" + (f", zone {zone.value}" if zone else ", in any zone")
    of_project = f"gcloud compute instances list --project={api.project}"
    if not target.instance:
        labels = ", ".join(f"{key}={value}" for key, value in target.labels.items())
        what = f"No instance with the labels {labels} in {where}"
        return CloudError("instance-not-found", what, hint=f"List what is there: {of_project}")
    what = f"No instance {target.instance} in {where}"
    try:
        others = every(api, "")
    except NotThere as missing:
        # The project itself is unknown.
        return CloudError("instance-not-found", what, missing.why, "See which projects there are: gcloud projects list")
    elsewhere = [_zone(raw) for raw in others.instances if raw.name == target.instance]
    if elsewhere:
        why = f"it is in {' and '.join(elsewhere)}"
        return CloudError("instance-not-found", what, why, f"Set `target.zone: {elsewhere[0]}`, or leave the zone out")
    similar = difflib.get_close_matches(target.instance, {word(raw.name) for raw in others.instances}, n=3, cutoff=0.5)
    if similar:
        why = f"similar names there: {', '.join(similar)}"
        hint = f"Did you mean {similar[0]}? Set `target.instance: {similar[0]}`, or list what is there: {of_project}"
        return CloudError("instance-not-found", what, why, hint)
    count, unseen = len(others.instances), f"; {', '.join(others.missed)} did not answer" if others.missed else ""
    why = exc.why if exc and not count else f"the project has {count or 'no'} instances{unseen}"
    return CloudError("instance-not-found", what, why, f"List what is there: {of_project}")


def _ambiguous(target: GceTarget, found: Sequence[compute_v1.Instance]) -> CloudError:
    shown = [f"{word(raw.name)} in {_zone(raw)} ({status_of(raw)})" for raw in found[:SHOWN_LIMIT]]
    more = f", and {len(found) - SHOWN_LIMIT} more" if len(found) > SHOWN_LIMIT else ""
    wanted = f"the name {target.instance}" if target.instance else "the profile's labels"
    return CloudError(
        "instance-ambiguous",
        f"{len(found)} instances fit {wanted}",
        ", ".join(shown) + more,
        "Set `target.zone`" if target.instance else "Set `target.instance`, or more labels",
    )


def _zone(raw: compute_v1.Instance) -> str:
    return word(raw.zone.rsplit("/", 1)[-1])
