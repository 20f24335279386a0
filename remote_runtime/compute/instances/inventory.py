"""Lists the projects that the credentials can see, and the instances of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ...core.errors import CloudError, Interrupted, RemoteRuntimeError
from ...core.sanitize import clean_line
from ..client import credentials, error_mapping, gcloud_config
from ..client.api import open_api
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
        if identity.is_anonymous and endpoint == gcloud_config.RESOURCE_MANAGER.default:
            raise CloudError("no-credentials", "Not signed in to Google Cloud")
        ids, why = _project_ids(identity, endpoint, deadline.within(PROJECTS_TIMEOUT_S)), ""
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


def _project_ids(identity: credentials.Identity, endpoint: str, deadline: Deadline) -> tuple[str, ...]:
    from google.auth.transport.requests import AuthorizedSession

    query: dict[str, str] = {"filter": "lifecycleState:ACTIVE", "pageSize": str(MAX_PROJECTS)}
    ids: list[str] = []
    with AuthorizedSession(identity.credentials) as session:  # type: ignore[no-untyped-call]  # typed in part
        while True:
            deadline.check()
            within_s = max(0.1, deadline.remaining_s())
            try:
                answer = session.get(f"{endpoint}/v1/projects", params=query, timeout=within_s)
                found = answer.json()
            except Exception as exc:
                if not error_mapping.is_client_error(exc) and not isinstance(exc, ValueError):
                    raise
                raise error_mapping.map_error(
                    exc,
                    endpoint=endpoint,
                    doing="list the projects",
                    project="",
                    identity=identity,
                    api_name=gcloud_config.RESOURCE_MANAGER.name,
                ).error from None  # its message may contain the credentials
            if answer.status_code != 200 or not isinstance(found, dict):
                raise CloudError("permission-denied", "No permission to list the projects", _error_message(found))
            ids += parse_project_ids(found.get("projects"))
            query["pageToken"] = str(found.get("nextPageToken", ""))
            if not query["pageToken"] or len(ids) >= MAX_PROJECTS:
                return tuple(sorted(ids)[:MAX_PROJECTS])


def parse_project_ids(listed: Any) -> list[str]:
    each_id = [each.get("projectId") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return [clean_name(each) for each in each_id if isinstance(each, str)]


def _error_message(answer: Any) -> str:
    error = answer.get("error", {}) if isinstance(answer, dict) else {}
    return clean_line(str(error.get("message", "")), 300) if isinstance(error, dict) else ""
