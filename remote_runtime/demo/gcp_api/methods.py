"""Compute Engine's REST v1 methods, as far as remote-runtime and gcloud use them. Paths start at ``projects/``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import advice, catalogue, disk_methods, filters
from . import instance_methods as instances
from .api_errors import ApiError, forbidden, invalid, not_found
from .offers import IMAGE_PROJECTS
from .operations import BASE
from .power import CHANGES
from .quotas import quotas_as_json
from .request import Call, page, parse_metadata, zones_of
from .state import DEFAULT_SERVICE_ACCOUNT, PROJECT_ID, Cloud
from .values import Json

MethodHandler = Callable[[Cloud, Call], Json]
# Permissions that are not named after their method.
_PERMISSIONS = {
    "instances.insert": "compute.instances.create",
    "instances.testIamPermissions": "",
    "disks.insert": "compute.disks.create",
    "snapshots.insert": "compute.snapshots.create",
}


@dataclass(frozen=True)
class ComputeMethod:
    """``id`` is that of the discovery document, without ``compute.``."""

    id: str
    http_method: str
    template: str
    handle: MethodHandler

    @property
    def permission(self) -> str:
        """The IAM permission that it needs; empty for none."""
        if self.id in _PERMISSIONS:
            return _PERMISSIONS[self.id]
        return f"compute.{self.id}".replace(".aggregatedList", ".list").replace("Operations.wait", "Operations.get")

    def names_in(self, path: str) -> dict[str, str] | None:
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.template)
        match = re.fullmatch(pattern, path)
        return match.groupdict() if match else None


def find_method(http_method: str, path: str, query: Mapping[str, str], body: Json | None) -> tuple[ComputeMethod, Call]:
    """Raises ``ApiError`` 404 if no method has this path and verb."""
    for method in METHODS:
        names = method.names_in(path)
        if names is not None and method.http_method == http_method:
            return method, Call(f"compute.{method.id}", path, names, query, body)
    raise ApiError(404, "notFound", f"The requested URL {path} was not found on this server.")


def handle(cloud: Cloud, method: ComputeMethod, call: Call) -> Json:
    """Raises ``ApiError``."""
    if not cloud.permits(method.permission):
        resource = "/".join(call.path.split("/")[: 6 if call.zone else 2])
        raise forbidden(method.permission, resource)
    cloud.admit(method.id)
    if call.project not in cloud.projects() and not (
        method.id.startswith("images.") and call.project in IMAGE_PROJECTS
    ):
        raise not_found(f"projects/{call.project}")
    if call.zone in cloud.unreachable_zones:
        raise ApiError(503, "backendError", f"The zone 'zones/{call.zone}' cannot be reached.")
    if call.zone and call.zone not in zones_of(cloud, call.project):
        raise invalid(f"Invalid value for field 'zone': '{call.zone}'. Unknown zone.")
    request_id = call.query.get("requestId", "")
    if not request_id:
        return method.handle(cloud, call)
    with cloud.changed:  # a request that is repeated, as after a lost answer, has no second effect
        key = (call.path, request_id)
        if key not in cloud.answers:
            cloud.answers[key] = method.handle(cloud, call)
        return cloud.answers[key]


# ── operations, projects ──


def _operations_get(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        return cloud.operation(call.project, call.zone, call.names["operation"]).as_json()


def _operations_wait(cloud: Cloud, call: Call) -> Json:
    cloud.wait_until_done(cloud.operation(call.project, call.zone, call.names["operation"]))
    return _operations_get(cloud, call)


def _operations_list(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        operations = [operation.as_json() for operation in cloud.operations(call.project, call.zone)]
    test = filters.parse(call.query.get("filter", ""))
    return page(call, "compute#operationList", [operation for operation in operations if test(operation)])


def _projects_get(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        instances = [instance for instance in cloud.instances if instance.vm.project == call.project]
        quotas = quotas_as_json(instances, cloud.quota_limits, "")
    return {
        "kind": "compute#project",
        "id": PROJECT_ID,
        "creationTimestamp": "2024-05-06T07:08:09.123-07:00",
        "name": call.project,
        "commonInstanceMetadata": cloud.project_metadata_as_json(call.project),
        "selfLink": f"{BASE}projects/{call.project}",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "defaultNetworkTier": "PREMIUM",
        "defaultServiceAccount": DEFAULT_SERVICE_ACCOUNT,
        "quotas": quotas,
    }


def _set_common_instance_metadata(cloud: Cloud, call: Call) -> Json:
    metadata, fingerprint = parse_metadata(call.body)
    return cloud.set_project_metadata(call.project, metadata, fingerprint).as_json()


_PROJECT = "projects/{project}"
_ZONE = f"{_PROJECT}/zones/{{zone}}"
_INSTANCE = f"{_ZONE}/instances/{{instance}}"
_OPERATION = f"{_ZONE}/operations/{{operation}}"
_GLOBAL_OPERATION = f"{_PROJECT}/global/operations/{{operation}}"

_REGION = f"{_PROJECT}/regions/{{region}}"
_DISK = f"{_ZONE}/disks/{{disk}}"
_SNAPSHOT = f"{_PROJECT}/global/snapshots/{{snapshot}}"
_NETWORKS = {"networks": "global", "firewalls": "global", "routes": "global"} | dict.fromkeys(
    ("subnetworks", "routers", "addresses"), "regions/{region}"
)
_OFFER_METHODS = (
    ("aggregatedList", "projects/{{project}}/aggregated/{kind}", catalogue.offers_aggregated_list),
    ("list", "projects/{{project}}/zones/{{zone}}/{kind}", catalogue.offers_list),
    ("get", "projects/{{project}}/zones/{{zone}}/{kind}/{{name}}", catalogue.offers_get),
)

METHODS: tuple[ComputeMethod, ...] = (
    ComputeMethod("projects.get", "GET", _PROJECT, _projects_get),
    ComputeMethod(
        "projects.setCommonInstanceMetadata",
        "POST",
        f"{_PROJECT}/setCommonInstanceMetadata",
        _set_common_instance_metadata,
    ),
    ComputeMethod("regions.list", "GET", f"{_PROJECT}/regions", catalogue.regions_list),
    ComputeMethod("regions.get", "GET", _REGION, catalogue.regions_get),
    *(
        ComputeMethod(f"{kind}.{verb}", "GET", f"{_PROJECT}/{scope}/{kind}{name}", handler)
        for kind, scope in _NETWORKS.items()
        for verb, name, handler in (("list", "", catalogue.stored_list), ("get", "/{name}", catalogue.stored_get))
    ),
    *(
        ComputeMethod(
            f"{kind}.aggregatedList", "GET", f"{_PROJECT}/aggregated/{kind}", catalogue.stored_aggregated_list
        )
        for kind, scope in _NETWORKS.items()
        if scope != "global"
    ),
    ComputeMethod(
        "regionNetworkFirewallPolicies.getEffectiveFirewalls",
        "GET",
        f"{_REGION}/firewallPolicies/getEffectiveFirewalls",
        catalogue.effective_firewalls,
    ),
    ComputeMethod("advice.capacity", "POST", f"{_REGION}/advice/capacity", advice.capacity),
    ComputeMethod("advice.capacityHistory", "POST", f"{_REGION}/advice/capacityHistory", advice.capacity_history),
    ComputeMethod("disks.aggregatedList", "GET", f"{_PROJECT}/aggregated/disks", disk_methods.aggregated_list),
    ComputeMethod("disks.list", "GET", f"{_ZONE}/disks", disk_methods.list_),
    ComputeMethod("disks.insert", "POST", f"{_ZONE}/disks", disk_methods.insert),
    ComputeMethod("disks.get", "GET", _DISK, disk_methods.get),
    ComputeMethod("disks.delete", "DELETE", _DISK, disk_methods.delete),
    ComputeMethod("disks.createSnapshot", "POST", f"{_DISK}/createSnapshot", disk_methods.create_snapshot),
    ComputeMethod("snapshots.list", "GET", f"{_PROJECT}/global/snapshots", disk_methods.snapshots_list),
    ComputeMethod("snapshots.insert", "POST", f"{_PROJECT}/global/snapshots", disk_methods.snapshots_insert),
    ComputeMethod("snapshots.get", "GET", _SNAPSHOT, disk_methods.snapshots_get),
    ComputeMethod("snapshots.delete", "DELETE", _SNAPSHOT, disk_methods.snapshots_delete),
    ComputeMethod("images.getFromFamily", "GET", f"{_PROJECT}/global/images/family/{{family}}", catalogue.images_get),
    ComputeMethod("images.get", "GET", f"{_PROJECT}/global/images/{{image}}", catalogue.images_get),
    *(
        ComputeMethod(f"{kind}.{verb}", "GET", path.format(kind=kind), handler)
        for kind in ("machineTypes", "acceleratorTypes")
        for verb, path, handler in _OFFER_METHODS
    ),
    ComputeMethod("zones.list", "GET", f"{_PROJECT}/zones", catalogue.zones_list),
    ComputeMethod("zones.get", "GET", _ZONE, catalogue.zones_get),
    ComputeMethod("instances.aggregatedList", "GET", f"{_PROJECT}/aggregated/instances", instances.aggregated_list),
    ComputeMethod("instances.list", "GET", f"{_ZONE}/instances", instances.list_),
    ComputeMethod("instances.get", "GET", _INSTANCE, instances.get),
    ComputeMethod("instances.insert", "POST", f"{_ZONE}/instances", instances.insert),
    ComputeMethod("instances.delete", "DELETE", _INSTANCE, instances.delete),
    *(ComputeMethod(f"instances.{verb}", "POST", f"{_INSTANCE}/{verb}", instances.change) for verb in CHANGES),
    ComputeMethod("instances.setMetadata", "POST", f"{_INSTANCE}/setMetadata", instances.set_metadata),
    ComputeMethod(
        "instances.getGuestAttributes", "GET", f"{_INSTANCE}/getGuestAttributes", instances.get_guest_attributes
    ),
    ComputeMethod("instances.getSerialPortOutput", "GET", f"{_INSTANCE}/serialPort", instances.get_serial_port_output),
    ComputeMethod(
        "instances.getEffectiveFirewalls",
        "GET",
        f"{_INSTANCE}/getEffectiveFirewalls",
        instances.get_effective_firewalls,
    ),
    ComputeMethod(
        "instances.testIamPermissions", "POST", f"{_INSTANCE}/testIamPermissions", instances.test_iam_permissions
    ),
    ComputeMethod("zoneOperations.list", "GET", f"{_ZONE}/operations", _operations_list),
    ComputeMethod("zoneOperations.get", "GET", _OPERATION, _operations_get),
    ComputeMethod("zoneOperations.wait", "POST", f"{_OPERATION}/wait", _operations_wait),
    ComputeMethod("globalOperations.list", "GET", f"{_PROJECT}/global/operations", _operations_list),
    ComputeMethod("globalOperations.get", "GET", _GLOBAL_OPERATION, _operations_get),
    ComputeMethod("globalOperations.wait", "POST", f"{_GLOBAL_OPERATION}/wait", _operations_wait),
)
