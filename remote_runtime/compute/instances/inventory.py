"""What there is to choose from: the projects that the credentials see, and the instances of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.callbacks import Tell
from ...core.deadline import Deadline
from ...core.errors import CloudError, Interrupted, RemoteRuntimeError
from ...core.sanitize import clean_line
from ..choices import Candidate, Projects
from ..client import credentials, error_mapping, gcloud_config
from ..client.api import Api, connect
from . import search
from .convert import status_of, word

if TYPE_CHECKING:
    from google.cloud import compute_v1

MOST_PROJECTS = 500
PROJECTS_S = 15.0


def projects(*, environ: Mapping[str, str], deadline: Deadline) -> Projects:
    """Asks the Resource Manager (https://cloud.google.com/resource-manager/reference/rest/v1/projects/list), which may
    be off or closed to the credentials: then ``why_none`` says so. Raises ``CloudError`` ``no-credentials``."""
    endpoint = gcloud_config.endpoint(environ, gcloud_config.RESOURCE_MANAGER)
    identity = credentials.load(environ, endpoint, gcloud_config.RESOURCE_MANAGER)
    try:
        default = gcloud_config.project(None, environ, lambda: identity.project)
    except CloudError:
        default = gcloud_config.Setting("", "")
    try:
        if identity.is_nobody and endpoint == gcloud_config.RESOURCE_MANAGER.default:
            raise CloudError("no-credentials", "Without credentials nobody is asked")
        ids, why = _ids(identity, endpoint, deadline.shorter(PROJECTS_S)), ""
    except Interrupted:
        raise
    except RemoteRuntimeError as exc:
        ids, why = (), str(exc)
    return Projects(ids, default.value, default.source, why)


def candidates(project: str, *, tell: Tell, environ: Mapping[str, str], deadline: Deadline) -> list[Candidate]:
    """The project's instances by name, 2000 at most. Raises ``CloudError``."""
    api: Api = connect(environ, tell=tell, deadline=deadline)
    api.project = project
    listing = search.every(api, "")
    if listing.missed:
        tell(f"Instances in {', '.join(listing.missed)} are not listed: Compute Engine does not answer there")
    return [_candidate(raw) for raw in listing.instances]


def _candidate(raw: compute_v1.Instance) -> Candidate:
    gpus = [f"{each.accelerator_count} {_last(each.accelerator_type)}" for each in raw.guest_accelerators]
    labels = {clean_line(key, 63): clean_line(value, 63) for key, value in sorted(raw.labels.items())}
    return Candidate(
        word(raw.name), _last(raw.zone), status_of(raw), _last(raw.machine_type), ", ".join(gpus[:4]), labels
    )


def _last(url: str) -> str:
    return word(url.rsplit("/", 1)[-1])


def _ids(identity: credentials.Identity, endpoint: str, deadline: Deadline) -> tuple[str, ...]:
    from google.auth.transport.requests import AuthorizedSession

    query: dict[str, str] = {"filter": "lifecycleState:ACTIVE", "pageSize": str(MOST_PROJECTS)}
    ids: list[str] = []
    with AuthorizedSession(identity.credentials) as session:  # type: ignore[no-untyped-call]  # typed in part
        while True:
            deadline.check()
            within_s = max(0.1, deadline.remaining_s())
            try:
                answer = session.get(f"{endpoint}/v1/projects", params=query, timeout=within_s)
                found = answer.json()
            except Exception as exc:
                if not error_mapping.is_foreign(exc) and not isinstance(exc, ValueError):
                    raise
                raise error_mapping.explain(
                    exc,
                    endpoint=endpoint,
                    doing="list the projects",
                    project="",
                    renew=identity.renew,
                    acts_as=identity.acts_as,
                    set_quota_project=identity.set_quota_project,
                    api_name=gcloud_config.RESOURCE_MANAGER.name,
                ).error from None  # its words may have what the credentials are
            if answer.status_code != 200 or not isinstance(found, dict):
                raise CloudError("permission-denied", "The projects may not be listed", _said(found))
            ids += ids_in(found.get("projects"))
            query["pageToken"] = str(found.get("nextPageToken", ""))
            if not query["pageToken"] or len(ids) >= MOST_PROJECTS:
                return tuple(sorted(ids)[:MOST_PROJECTS])


def ids_in(listed: Any) -> list[str]:
    each_id = [each.get("projectId") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return [word(each) for each in each_id if isinstance(each, str)]


def _said(answer: Any) -> str:
    error = answer.get("error", {}) if isinstance(answer, dict) else {}
    return clean_line(str(error.get("message", "")), 300) if isinstance(error, dict) else ""
