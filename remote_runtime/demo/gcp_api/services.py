"""Other Google APIs: Resource Manager, Service Usage, the catalogue of Cloud Billing. Paths start at ``v1/``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from .api_errors import RpcError, forbidden
from .state import PROJECT_ID, Cloud
from .values import Json

COMPUTE_SKUS = "v1/services/6F81-5844-456A/skus"
MAX_SKUS = 50
Query = Mapping[str, str]


def find_method(
    cloud: Cloud, http_method: str, path: str, query: Query, body: Json | None
) -> tuple[str, Callable[[], Json]] | None:
    """The method's id and a function that returns its answer or raises ``ApiError``; None for another API's path."""
    for method_id, verb, pattern, handler in _METHODS:
        match = re.fullmatch(pattern, path)
        if match and verb == http_method:
            return method_id, partial(handler, cloud, match.groupdict().get("project", ""), query, body)
    return None


def _list_projects(cloud: Cloud, project: str, query: Query, body: Json | None) -> Json:
    """All emulated projects, on one page."""
    if not cloud.permits("resourcemanager.projects.list"):
        raise forbidden("resourcemanager.projects.list", "projects")
    return {
        "projects": [
            {"projectNumber": str(10**11 + number), "projectId": each, "name": each, "lifecycleState": "ACTIVE"}
            for number, each in enumerate(cloud.projects())
        ]
    }


def _test_permissions(cloud: Cloud, project: str, query: Query, body: Json | None) -> Json:
    granted = [permission for permission in (body or {}).get("permissions", []) if cloud.permits(permission)]
    return {"permissions": granted} if granted else {}


def _get_services(cloud: Cloud, project: str, query: Query, body: Json | None) -> Json:
    if not cloud.permits("serviceusage.services.get"):
        raise RpcError(403, "PERMISSION_DENIED", f"Permission denied to get services for project [{project}]")
    parent = f"projects/{PROJECT_ID}"
    return {
        "services": [
            {
                "name": f"{parent}/services/{name}",
                "parent": parent,
                "config": {"name": name, "title": name},
                "state": "DISABLED" if name in cloud.disabled_services else "ENABLED",
            }
            for name in (each.rpartition("/")[2] for each in query.get("names", "").split(","))
        ]
    }


def _list_skus(cloud: Cloud, project: str, query: Query, body: Json | None) -> Json:
    if "cloudbilling.googleapis.com" in cloud.disabled_services:
        message = f"Cloud Billing API has not been used in project {PROJECT_ID} before or it is disabled."
        raise RpcError(403, "PERMISSION_DENIED", message)
    token = query.get("pageToken", "") or "0"
    if not token.isdigit():
        raise RpcError(400, "INVALID_ARGUMENT", "Invalid page token.")
    first, size = int(token), min(int(query.get("pageSize", MAX_SKUS)), MAX_SKUS)
    more = str(first + size) if first + size < len(cloud.skus) else ""
    return {"skus": list(cloud.skus[first : first + size]), "nextPageToken": more}


_METHODS = (
    ("cloudresourcemanager.projects.list", "GET", r"v1/projects", _list_projects),
    (
        "cloudresourcemanager.projects.testIamPermissions",
        "POST",
        r"v1/projects/(?P<project>[^/:]+):testIamPermissions",
        _test_permissions,
    ),
    (
        "serviceusage.services.batchGet",
        "GET",
        r"v1/projects/(?P<project>[^/]+)/services:batchGet",
        _get_services,
    ),
    ("cloudbilling.services.skus.list", "GET", COMPUTE_SKUS, _list_skus),
)
METHOD_IDS = frozenset(method_id for method_id, *_ in _METHODS)
