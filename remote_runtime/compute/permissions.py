"""What these credentials may do to an instance, asked without doing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.callbacks import Tell
from ..core.deadline import Deadline
from ..core.profile import GceTarget
from .client import gcloud_config
from .client.api import connect
from .instances import search


def missing(
    target: GceTarget, wanted: Sequence[str], *, tell: Tell, deadline: Deadline, environ: Mapping[str, str]
) -> list[str]:
    """Those of ``wanted`` that the credentials lack on the instance that ``target`` means. Raises as ``find``."""
    api = connect(environ, tell=tell, deadline=deadline)
    api.project = gcloud_config.project(target.project, environ, lambda: api.identity.project).value
    raw = search.find_one(api, target, gcloud_config.zone(target.zone, environ))
    request = {
        "project": api.project,
        "zone": raw.zone.rsplit("/", 1)[-1],
        "resource": raw.name,
        "test_permissions_request_resource": {"permissions": list(wanted)},
    }
    answer = api.call(api.instances.test_iam_permissions, request, doing=f"ask for the permissions on {raw.name}")
    held = set(answer.permissions)
    return [permission for permission in wanted if permission not in held]
