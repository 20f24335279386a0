"""Lists the projects that the credentials can see, and the instances of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ...core.errors import CloudError, Interrupted, RemoteRuntimeError
from ...core.sanitize import clean_line
from ..client import credentials, gcloud_config
from ..client.api import open_api
from ..client.rest import RestApi, open_rest
from ..worker_protocol import InstanceSummary, ProjectList
from . import search
from .convert import clean_name, last_segment, status_of

if TYPE_CHECKING:
    from google.cloud import compute_v1

MAX_PROJECTS = 500
PROJECTS_TIMEOUT_S = 15.0


def list_projects(*, progress: Progress, environ: Mapping[str, str], deadline: Deadline) -> ProjectList:
    """From the Resource Manager (https://cloud.google.com/resource-manager/reference/rest/v1/projects/list). If that
    API is disabled or refuses the credentials, ``why_none`` says so. Raises ``CloudError`` ``no-credentials``."""
    endpoint = gcloud_config.endpoint(environ, gcloud_config.RESOURCE_MANAGER)
    identity = credentials.load(environ, endpoint, gcloud_config.RESOURCE_MANAGER)
    try:
        default = gcloud_config.project(None, environ, identity.project)
    except CloudError:
        default = gcloud_config.SourcedValue("", "")
    try:
        within = deadline.within(PROJECTS_TIMEOUT_S)
        ids, why = _project_ids(open_rest(environ, gcloud_config.RESOURCE_MANAGER, within, identity)), ""
    except Interrupted:
        raise
    except RemoteRuntimeError as exc:
        ids, why = (), str(exc)
    return ProjectList(ids, default.value, default.source, why)


def list_instances(
    project: str, *, progress: Progress, environ: Mapping[str, str], deadline: Deadline
) -> list[InstanceSummary]:
    """The project's instances by name, at most 2000. Raises ``CloudError``."""
    api = open_api(environ, progress=progress, deadline=deadline, project=project)
    listing = search.list_all(api, "")
    if zones := ", ".join(listing.unreachable_zones):
        progress(f"Instances in {zones} are not listed: Compute Engine does not respond for these zones")
    return [_summary(raw) for raw in listing.instances]


def _summary(raw: compute_v1.Instance) -> InstanceSummary:
    gpus = [f"{each.accelerator_count} {last_segment(each.accelerator_type)}" for each in raw.guest_accelerators]
    labels = {clean_line(key, 63): clean_line(value, 63) for key, value in sorted(raw.labels.items())}
    return InstanceSummary(
        clean_name(raw.name),
        last_segment(raw.zone),
        status_of(raw),
        last_segment(raw.machine_type),
        ", ".join(gpus[:4]),
        labels,
    )


def _project_ids(rest: RestApi) -> tuple[str, ...]:
    query = {"filter": "lifecycleState:ACTIVE", "pageSize": str(MAX_PROJECTS)}
    ids: list[str] = []
    for page in rest.pages("v1/projects", query, doing="list the projects"):
        ids += parse_project_ids(page.get("projects"))
        if len(ids) >= MAX_PROJECTS:
            break
    return tuple(sorted(ids)[:MAX_PROJECTS])


def parse_project_ids(listed: Any) -> list[str]:
    each_id = [each.get("projectId") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return [clean_name(each) for each in each_id if isinstance(each, str)]
