"""Lists what remote-runtime created in a project: what has its label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ...core.callbacks import Progress
from ...core.creation import CREATED_BY_LABEL, CloudResource
from ...core.deadline import Deadline
from ...core.sanitize import clean_line
from ..client import gcloud_config
from ..client.api import Api, open_api
from ..instances.convert import clean_name, last_segment, unreachable_zones_in

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
            clean_line(raw.creation_timestamp, 40),
            str(raw.id),
            clean_line(raw.labels[CREATED_BY_LABEL], 63),
        )
        for raw in found
        if CREATED_BY_LABEL in raw.labels
    ]
