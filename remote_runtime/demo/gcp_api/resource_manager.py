"""The Resource Manager's REST v1, as far as a list of projects needs it. Its path is ``v1/projects``."""

from __future__ import annotations

from collections.abc import Collection

from .api_errors import forbidden
from .state import Cloud
from .values import Json

PATH = "v1/projects"
PERMISSION = "resourcemanager.projects.list"


def list_projects(cloud: Cloud, forbidden_permissions: Collection[str]) -> Json:
    """All emulated projects, on one page. Raises ``ApiError``."""
    if PERMISSION in forbidden_permissions:
        raise forbidden(PERMISSION, "projects")
    return {
        "projects": [
            {"projectNumber": str(10**11 + number), "projectId": project, "name": project, "lifecycleState": "ACTIVE"}
            for number, project in enumerate(cloud.projects())
        ]
    }
