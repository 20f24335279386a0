"""A request for a known method, and the parts that answers share."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import filters
from .api_errors import invalid
from .offers import ZONES
from .operations import BASE
from .state import Cloud
from .values import Json

MAX_VALUE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Call:
    """A request for a known method. ``names``: the values of the path's placeholders."""

    method_id: str
    path: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    body: Json | None

    @property
    def project(self) -> str:
        return self.names["project"]

    @property
    def zone(self) -> str:
        return self.names.get("zone", "")


def page(call: Call, kind: str, resources: Sequence[Json]) -> Json:
    """The part of ``resources`` that ``maxResults`` and ``pageToken`` ask for."""
    size = int(call.query.get("maxResults", "500")) or 500
    token = call.query.get("pageToken", "")
    try:
        first = int(base64.urlsafe_b64decode(token)) if token else 0
    except ValueError:
        raise invalid(f"Invalid value for field 'pageToken': '{token}'.") from None
    answer: Json = {"kind": kind, "id": call.path, "selfLink": f"{BASE}{call.path}"}
    if resources[first : first + size]:
        answer["items"] = list(resources[first : first + size])
    if len(resources) > first + size:
        answer["nextPageToken"] = base64.urlsafe_b64encode(str(first + size).encode()).decode()
    return answer


def list_response(call: Call, kind: str, resources: Sequence[Json]) -> Json:
    """The page of those of ``resources`` that the filter finds."""
    test = filters.parse(call.query.get("filter", ""))
    return page(call, kind, [resource for resource in resources if test(resource)])


def parse_metadata(body: Json | None) -> tuple[dict[str, str], str]:
    """The items and the fingerprint of a request that writes metadata. Raises ``ApiError`` 400.

    gcloud writes the fingerprint in the alphabet for URLs, whatever alphabet it was read in.
    """
    items = (body or {}).get("items", [])
    metadata = {item["key"]: item.get("value", "") for item in items}
    if len(metadata) != len(items):
        raise invalid("Invalid value for field 'metadata': Metadata has duplicate keys.")
    for key, value in metadata.items():
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", key):
            raise invalid(f"Invalid value for field 'metadata.items[0].key': '{key}'.")
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise invalid(f"Value for field 'metadata.items[0].value' is too large: maximum size {MAX_VALUE_BYTES}.")
    return metadata, (body or {}).get("fingerprint", "").replace("-", "+").replace("_", "/")


def zones_of(cloud: Cloud, project: str) -> list[str]:
    used = [instance.vm.zone for instance in cloud.instances if instance.vm.project == project]
    return sorted({*ZONES, *used})


def no_results_warning(place: str, kind: str = "zones") -> Json:
    """The scope of an aggregated list for a zone or a region without results."""
    text = f"There are no results for scope '{kind}/{place}' on this page."
    return _warning(f"{kind}/{place}", "NO_RESULTS_ON_PAGE", text)


def unreachable_warning(zone: str) -> Json:
    """The scope of an aggregated list for a zone that does not answer."""
    return _warning(f"zones/{zone}", "UNREACHABLE", f"The zone 'zones/{zone}' cannot be reached.")


def _warning(scope: str, code: str, message: str) -> Json:
    data = [{"key": "scope", "value": scope}]
    return {"warning": {"code": code, "message": message, "data": data}}
