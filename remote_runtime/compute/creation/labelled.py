"""Lists what remote-runtime created in a project: what has its label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ...core.callbacks import Progress
from ...core.creation import CREATED_BY_LABEL, CloudResource
from ...core.deadline import Deadline
from ...core.errors import CloudError
from ...core.model import Instance
from ...core.profile import GceTarget
from ...core.sanitize import clean_line
from ..client import gcloud_config
from ..client.api import Api, open_api
from ..instances.convert import clean_name, last_segment, to_instance, to_utc, unreachable_zones_in
from .plan import find_by_name

FILTER = f"labels.{CREATED_BY_LABEL}:*"
MAX_RESOURCES = 2000


def find_by_label(
    project: str | None, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> tuple[CloudResource, ...]:
    """Instances, then disks, then snapshots, of all clients: ``created_by`` is the client's id. ``project``: None for
    the environment's. Raises ``CloudError``."""
    api = open_api(environ, progress=progress, deadline=deadline)
    from google.cloud import compute_v1

    api.project = gcloud_config.project(project, environ, api.identity.project).value
    found = _in_zones(api, api.instances, "instances", "instance")
    found += _in_zones(api, api.client(compute_v1.DisksClient), "disks", "disk")
    return (*found, *_snapshots(api))


def find_created(
    target: GceTarget, client_id: str, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> Instance | None:
    """The instance of the target's name that this client created, running or not; None if there is no such name.
    Raises ``CloudError`` ``not-created-here`` for one that it did not create."""
    api = open_api(environ, progress=progress, deadline=deadline)
    api.project = gcloud_config.project(target.project, environ, api.identity.project).value
    name = target.instance or ""
    progress(f"Finding {name} in project {api.project}")
    found = find_by_name(api, name) if name else []
    for raw in found:
        if raw.labels.get(CREATED_BY_LABEL) == client_id:
            return to_instance(raw, api.project, target.connect)
    if not found:
        return None
    made = "another runtime created it" if CREATED_BY_LABEL in found[0].labels else "`up` did not create it"
    raise CloudError("not-created-here", f"{name} in {last_segment(found[0].zone)} is not deleted", made)


def _in_zones(api: Api, client: Any, what: str, kind: Literal["instance", "disk"]) -> list[CloudResource]:
    def listed(*, request: dict[str, Any], retry: None, timeout: float) -> tuple[list[CloudResource], set[str]]:
        found: list[CloudResource] = []
        missed: set[str] = set()
        for page in client.aggregated_list(request=request, retry=retry, timeout=timeout).pages:
            missed |= unreachable_zones_in(page)
            for scope in page.items.values():
                found += _resources(getattr(scope, what), kind, api.project)
        return found[:MAX_RESOURCES], missed

    method: Callable[..., tuple[list[CloudResource], set[str]]] = listed
    request = {"project": api.project, "filter": FILTER}
    found, missed = api.call(method, request, doing=f"list the {what} of project {api.project}")
    if missed:
        api.progress(f"Skipped {', '.join(sorted(missed))}: Compute Engine does not respond for these zones")
    return found


def _snapshots(api: Api) -> list[CloudResource]:
    from google.cloud import compute_v1

    client = api.client(compute_v1.SnapshotsClient)

    def listed(*, request: dict[str, Any], retry: None, timeout: float) -> list[CloudResource]:
        pages = client.list(request=request, retry=retry, timeout=timeout).pages
        found = [each for page in pages for each in _resources(page.items, "snapshot", api.project)]
        return found[:MAX_RESOURCES]

    method: Callable[..., list[CloudResource]] = listed
    request = {"project": api.project, "filter": FILTER}
    return api.call(method, request, doing=f"list the snapshots of project {api.project}")


def _resources(
    found: Iterable[Any], kind: Literal["instance", "disk", "snapshot"], project: str
) -> list[CloudResource]:
    """Those with the label: the API's filter matches a pattern."""
    return [
        CloudResource(
            kind,
            clean_name(raw.name),
            project,
            last_segment(raw.zone) if kind != "snapshot" else "",
            to_utc(raw.creation_timestamp),
            str(raw.id),
            clean_line(raw.labels[CREATED_BY_LABEL], 63),
            last_segment(raw.users[0]) if kind == "disk" and raw.users else "",
        )
        for raw in found
        if CREATED_BY_LABEL in raw.labels
    ]
