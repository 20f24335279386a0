"""What these credentials may do to an instance, asked without doing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.profile import GceTarget
from .client import gcloud_config
from .client.api import open_api
from .instances import search


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
