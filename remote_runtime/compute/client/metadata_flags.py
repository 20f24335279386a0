"""Boolean metadata, which an instance sets or inherits from its project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...core.errors import CloudError
from .api import Api

if TYPE_CHECKING:
    from google.cloud import compute_v1


def is_enabled(api: Api, raw: compute_v1.Instance, key: str) -> bool:
    """True if the instance's or else the project's ``key`` is true. Unreadable project metadata count as not set."""
    value = metadata_items(raw.metadata).get(key)
    return is_true(project_metadata(api).get(key) if value is None else value)


def is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in ("true", "1", "y", "yes")


def metadata_items(metadata: compute_v1.Metadata) -> Mapping[str, str]:
    return {item.key: item.value for item in metadata.items}


def project_metadata(api: Api) -> Mapping[str, str]:
    """The project's metadata, read once; empty if it may not be read. Raises ``CloudError`` ``cloud-unreachable``."""
    if api.project_metadata is None:
        doing = f"read the metadata of project {api.project}"
        try:
            project = api.call(api.projects.get, {"project": api.project}, doing=doing)
        except CloudError as exc:
            if exc.code == "cloud-unreachable":
                raise
            api.project_metadata = {}
        else:
            api.project_metadata = metadata_items(project.common_instance_metadata)
    return api.project_metadata
