"""Compute Engine's REST v1 methods, as far as remote-runtime and gcloud use them. Paths start at ``projects/``."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from . import filters
from .answers import ApiError, forbidden, guest_attribute_not_found, invalid, not_found
from .cloud import Cloud
from .instance import Instance
from .operations import BASE
from .power import CHANGES
from .serial_console import serial_output
from .values import ZONES, Json


@dataclass(frozen=True)
class Call:
    """A request for a known method. ``names``: what the path's placeholders stand for."""

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


Answer = Callable[[Cloud, Call], Json]


@dataclass(frozen=True)
class Method:
    """``id`` is that of the discovery document, without ``compute.``."""

    id: str
    http_method: str
    template: str
    permission: str
    answer: Answer

    def names_in(self, path: str) -> dict[str, str] | None:
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.template)
        match = re.fullmatch(pattern, path)
        return match.groupdict() if match else None


def find(http_method: str, path: str, query: Mapping[str, str], body: Json | None) -> tuple[Method, Call]:
    """Raises ``ApiError`` 404 for a path and a verb that no method has."""
    for method in METHODS:
        names = method.names_in(path)
        if names is not None and method.http_method == http_method:
            return method, Call(f"compute.{method.id}", path, names, query, body)
    raise ApiError(404, "notFound", f"The requested URL {path} was not found on this server.")


def answer(cloud: Cloud, method: Method, call: Call, forbidden_permissions: Collection[str]) -> Json:
    """Raises ``ApiError``."""
    if method.permission in forbidden_permissions:
        resource = re.sub(
            r"/(start|stop|suspend|resume|reset|setMetadata|serialPort|getGuestAttributes|wait)$", "", call.path
        )
        raise forbidden(method.permission, resource)
    if call.project not in cloud.projects():
        raise not_found(f"projects/{call.project}")
    if call.zone and call.zone not in _zones(cloud, call.project):
        raise invalid(f"Invalid value for field 'zone': '{call.zone}'. Unknown zone.")
    return method.answer(cloud, call)


# ── instances ──


def _instance(cloud: Cloud, call: Call) -> Instance:
    return cloud.instance(call.project, call.zone, call.names["instance"])


def _instances_get(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        return _instance(cloud, call).as_json()


def _instances_list(cloud: Cloud, call: Call) -> Json:
    found = [instance for instance in _filtered(cloud, call) if instance["zone"].endswith(f"/{call.zone}")]
    return _page(call, "compute#instanceList", found)


def _instances_aggregated_list(cloud: Cloud, call: Call) -> Json:
    page = _page(call, "compute#instanceAggregatedList", _filtered(cloud, call))
    scopes: Json = {f"zones/{zone}": _nothing_in(zone) for zone in _zones(cloud, call.project)}
    for instance in page.pop("items", []):
        scope = "zones/" + instance["zone"].rpartition("/")[2]
        scopes[scope].pop("warning", None)
        scopes[scope].setdefault("instances", []).append(instance)
    return page | {"items": scopes}


def _instances_change(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        return cloud.change(call.path.rpartition("/")[2], _instance(cloud, call)).as_json()


def _instances_set_metadata(cloud: Cloud, call: Call) -> Json:
    items = (call.body or {}).get("items", [])
    metadata = {item["key"]: item.get("value", "") for item in items}
    if len(metadata) != len(items):
        raise invalid("Invalid value for field 'metadata': Metadata has duplicate keys.")
    with cloud.changed:
        fingerprint = (call.body or {}).get("fingerprint", "")
        return cloud.set_metadata(_instance(cloud, call), metadata, fingerprint).as_json()


def _instances_get_guest_attributes(cloud: Cloud, call: Call) -> Json:
    query_path = call.query.get("queryPath", "")
    with cloud.changed:
        instance = _instance(cloud, call)
        enabled = cloud.guest_attributes_enabled(instance)
        found = {key: value for key, value in instance.guest_attributes.items() if key.startswith(query_path)}
    if not enabled or not found:
        raise guest_attribute_not_found(query_path)
    entries = [
        {"namespace": key.partition("/")[0], "key": key.partition("/")[2], "value": value}
        for key, value in found.items()
    ]
    return {
        "kind": "compute#guestAttributes",
        "queryPath": query_path,
        "queryValue": {"items": entries},
        "selfLink": f"{BASE}{call.path}",
    }


def _instances_get_serial_port_output(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        instance = _instance(cloud, call)
        contents = serial_output(instance.vm.name, instance.boot_count)
    start = int(call.query.get("start", "0"))
    return {
        "kind": "compute#serialPortOutput",
        "selfLink": f"{BASE}{call.path}",
        "contents": contents[start:],
        "start": str(start),
        "next": str(len(contents)),
    }


# ── operations, zones, projects ──


def _zone_operations_get(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        return cloud.operation(call.project, call.zone, call.names["operation"]).as_json()


def _zone_operations_wait(cloud: Cloud, call: Call) -> Json:
    cloud.wait_until_done(cloud.operation(call.project, call.zone, call.names["operation"]))
    return _zone_operations_get(cloud, call)


def _zone_operations_list(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        operations = [operation.as_json() for operation in cloud.operations(call.project, call.zone)]
    return _page(call, "compute#operationList", operations)


def _zones_get(cloud: Cloud, call: Call) -> Json:
    return _zone_as_json(call.project, call.zone)


def _zones_list(cloud: Cloud, call: Call) -> Json:
    test = filters.parse(call.query.get("filter", ""))
    zones = [_zone_as_json(call.project, zone) for zone in _zones(cloud, call.project)]
    return _page(call, "compute#zoneList", [zone for zone in zones if test(zone)])


def _projects_get(cloud: Cloud, call: Call) -> Json:
    return {
        "kind": "compute#project",
        "id": "4503599627370497123",
        "creationTimestamp": "2024-05-06T07:08:09.123-07:00",
        "name": call.project,
        "commonInstanceMetadata": cloud.project_metadata_as_json(call.project),
        "selfLink": f"{BASE}projects/{call.project}",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "defaultNetworkTier": "PREMIUM",
    }


def _zones(cloud: Cloud, project: str) -> list[str]:
    used = [instance.vm.zone for instance in cloud.instances if instance.vm.project == project]
    return sorted({*ZONES, *used})


def _zone_as_json(project: str, zone: str) -> Json:
    return {
        "kind": "compute#zone",
        "id": str(2**60 + sum(zone.encode())),
        "name": zone,
        "description": zone,
        "status": "UP",
        "region": f"{BASE}projects/{project}/regions/{zone.rpartition('-')[0]}",
        "selfLink": f"{BASE}projects/{project}/zones/{zone}",
    }


def _nothing_in(zone: str) -> Json:
    return {
        "warning": {
            "code": "NO_RESULTS_ON_PAGE",
            "message": f"There are no results for scope 'zones/{zone}' on this page.",
            "data": [{"key": "scope", "value": f"zones/{zone}"}],
        }
    }


def _filtered(cloud: Cloud, call: Call) -> list[Json]:
    test = filters.parse(call.query.get("filter", ""))
    with cloud.changed:
        resources = [found.as_json() for found in cloud.instances if found.vm.project == call.project]
    return [resource for resource in resources if test(resource)]


def _page(call: Call, kind: str, resources: Sequence[Json]) -> Json:
    """The part of ``resources`` that ``maxResults`` and ``pageToken`` ask for."""
    size = int(call.query.get("maxResults", "500")) or 500
    token = call.query.get("pageToken", "")
    try:
        first = int(base64.urlsafe_b64decode(token)) if token else 0
    except ValueError:
        raise invalid(f"Invalid value for field 'pageToken': '{token}'.") from None
    page: Json = {"kind": kind, "id": call.path, "selfLink": f"{BASE}{call.path}"}
    if resources[first : first + size]:
        page["items"] = list(resources[first : first + size])
    if len(resources) > first + size:
        page["nextPageToken"] = base64.urlsafe_b64encode(str(first + size).encode()).decode()
    return page


_PROJECT = "projects/{project}"
_ZONE = f"{_PROJECT}/zones/{{zone}}"
_INSTANCE = f"{_ZONE}/instances/{{instance}}"
_OPERATION = f"{_ZONE}/operations/{{operation}}"

METHODS: tuple[Method, ...] = (
    Method("projects.get", "GET", _PROJECT, "compute.projects.get", _projects_get),
    Method("zones.list", "GET", f"{_PROJECT}/zones", "compute.zones.list", _zones_list),
    Method("zones.get", "GET", _ZONE, "compute.zones.get", _zones_get),
    Method(
        "instances.aggregatedList",
        "GET",
        f"{_PROJECT}/aggregated/instances",
        "compute.instances.list",
        _instances_aggregated_list,
    ),
    Method("instances.list", "GET", f"{_ZONE}/instances", "compute.instances.list", _instances_list),
    Method("instances.get", "GET", _INSTANCE, "compute.instances.get", _instances_get),
    *(
        Method(f"instances.{verb}", "POST", f"{_INSTANCE}/{verb}", f"compute.instances.{verb}", _instances_change)
        for verb in CHANGES
    ),
    Method(
        "instances.setMetadata",
        "POST",
        f"{_INSTANCE}/setMetadata",
        "compute.instances.setMetadata",
        _instances_set_metadata,
    ),
    Method(
        "instances.getGuestAttributes",
        "GET",
        f"{_INSTANCE}/getGuestAttributes",
        "compute.instances.getGuestAttributes",
        _instances_get_guest_attributes,
    ),
    Method(
        "instances.getSerialPortOutput",
        "GET",
        f"{_INSTANCE}/serialPort",
        "compute.instances.getSerialPortOutput",
        _instances_get_serial_port_output,
    ),
    Method("zoneOperations.list", "GET", f"{_ZONE}/operations", "compute.zoneOperations.list", _zone_operations_list),
    Method("zoneOperations.get", "GET", _OPERATION, "compute.zoneOperations.get", _zone_operations_get),
    Method("zoneOperations.wait", "POST", f"{_OPERATION}/wait", "compute.zoneOperations.get", _zone_operations_wait),
)
