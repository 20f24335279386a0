"""Which instance a profile means: by name in a zone, by name or labels in the whole project."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import CloudError
from ..settings import GceTarget
from .api import Api
from .failures import NotThere, Refused
from .seen import status_of, word
from .settings import Setting

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

PAGE_SIZE = 500
# Near misses are looked for among this many instances, and at most this many that fit are listed.
INSTANCES_LIMIT = 2000
SHOWN_LIMIT = 10


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
    found = [raw for raw in every(api, _filter(target)) if _fits(raw, target)]
    if strict and zone is not None:
        found = [raw for raw in found if _zone(raw) == zone.value]
    if len(found) > 1:
        raise _ambiguous(target, found)
    if not found:
        raise _not_found(api, target, zone if strict else None, None)
    return found[0]


def get(api: Api, name: str, zone: str) -> compute_v1.Instance:
    """Raises ``NotThere`` when the zone has no such instance."""
    request = {"project": api.project, "zone": zone, "instance": name}
    return _look(api, api.instances.get, request, doing=f"read the instance {name}")


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


def every(api: Api, expression: str) -> Sequence[compute_v1.Instance]:
    """The project's instances that fit the filter ``expression``, all if it is empty, by name and zone."""

    def every_page(*, request: dict[str, Any], retry: None, timeout: float) -> list[compute_v1.Instance]:
        zones = api.instances.aggregated_list(request=request, retry=retry, timeout=timeout)
        instances = itertools.chain.from_iterable(scope.instances for _, scope in zones)
        return sorted(itertools.islice(instances, INSTANCES_LIMIT), key=lambda raw: (raw.name, raw.zone))

    listing: Callable[..., list[compute_v1.Instance]] = every_page
    request = {"project": api.project, "max_results": PAGE_SIZE} | ({"filter": expression} if expression else {})
    return _look(api, listing, request, doing=f"list the instances of project {api.project}")


def _look(api: Api, method: Callable[..., T], request: dict[str, Any], *, doing: str) -> T:
    """Raises ``NotThere`` also for a name, zone or project that cannot exist."""
    try:
        return api.call(method, request, doing=doing)
    except Refused as exc:
        raise NotThere("instance-not-found", exc.what, exc.why) from exc


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
    elsewhere = [_zone(raw) for raw in others if raw.name == target.instance]
    if elsewhere:
        why = f"it is in {' and '.join(elsewhere)}"
        return CloudError("instance-not-found", what, why, f"Set `target.zone: {elsewhere[0]}`, or leave the zone out")
    similar = difflib.get_close_matches(target.instance, {word(raw.name) for raw in others}, n=3, cutoff=0.5)
    if similar:
        why = f"similar names there: {', '.join(similar)}"
        hint = f"Did you mean {similar[0]}? Set `target.instance: {similar[0]}`, or list what is there: {of_project}"
        return CloudError("instance-not-found", what, why, hint)
    why = exc.why if exc and not others else f"the project has {len(others) or 'no'} instances"
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
