"""Switches in the metadata: what the instance says, else the project."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import CloudError
from .api import Api

if TYPE_CHECKING:
    from google.cloud import compute_v1


def is_on(api: Api, raw: compute_v1.Instance, key: str) -> bool:
    """Whether ``key`` is true. A project whose metadata may not be read says nothing."""
    value = _value(raw.metadata.items, key)
    if value is None:
        doing = f"read the metadata of project {api.project}"
        try:
            project = api.call(api.projects.get, {"project": api.project}, doing=doing)
        except CloudError as exc:
            if exc.code == "cloud-unreachable":
                raise
            return False
        value = _value(project.common_instance_metadata.items, key)
    return (value or "").strip().lower() in ("true", "1", "y", "yes")


def _value(items: Iterable[compute_v1.Items], key: str) -> str | None:
    return next((item.value for item in items if item.key == key), None)
