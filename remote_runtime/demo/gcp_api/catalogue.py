"""The API methods that show what exists: projects, regions, zones, images, machine types, GPUs, firewall rules."""

from __future__ import annotations

from collections.abc import Sequence

from . import disks, filters, offers
from .api_errors import forbidden, not_found
from .operations import BASE
from .request import Call, no_results_warning, page, unreachable_warning, zones_of
from .state import Cloud
from .values import Json

PROJECTS_PATH = "v1/projects"
PROJECTS_PERMISSION = "resourcemanager.projects.list"


def list_projects(cloud: Cloud) -> Json:
    """Resource Manager's REST v1: all emulated projects, on one page. Raises ``ApiError``."""
    if not cloud.permits(PROJECTS_PERMISSION):
        raise forbidden(PROJECTS_PERMISSION, "projects")
    return {
        "projects": [
            {"projectNumber": str(10**11 + number), "projectId": project, "name": project, "lifecycleState": "ACTIVE"}
            for number, project in enumerate(cloud.projects())
        ]
    }


def zones_get(cloud: Cloud, call: Call) -> Json:
    return _zone(call.project, call.zone)


def zones_list(cloud: Cloud, call: Call) -> Json:
    return _list_response(
        call, "compute#zoneList", [_zone(call.project, zone) for zone in zones_of(cloud, call.project)]
    )


def regions_list(cloud: Cloud, call: Call) -> Json:
    regions = sorted({zone.rpartition("-")[0] for zone in zones_of(cloud, call.project)})
    return _list_response(call, "compute#regionList", [_region(cloud, call.project, region) for region in regions])


def firewalls_list(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        rules = [dict(rule) for rule in cloud.firewalls[call.project]]
    return _list_response(call, "compute#firewallList", rules)


def images_get(cloud: Cloud, call: Call) -> Json:
    family, name = call.names.get("family", ""), call.names.get("image", "")
    image = disks.find_image(call.project, name, family)
    if image is None:
        raise not_found(call.path)
    return disks.image_as_json(image)


def offers_get(cloud: Cloud, call: Call) -> Json:
    """A machine type or an accelerator type."""
    for offered in _offered(call, call.zone):
        if offered["name"] == call.path.rpartition("/")[2]:
            return offered
    raise not_found(call.path)


def offers_list(cloud: Cloud, call: Call) -> Json:
    return _list_response(call, f"compute#{_offered_kind(call)}List", _offered(call, call.zone))


def offers_aggregated_list(cloud: Cloud, call: Call) -> Json:
    test = filters.parse(call.query.get("filter", ""))
    kind = _offered_kind(call)
    scopes: Json = {}
    for zone in zones_of(cloud, call.project):
        found = [each for each in _offered(call, zone) if test(each)]
        scopes[f"zones/{zone}"] = {f"{kind}s": found} if found else no_results_warning(zone)
        if zone in cloud.unreachable_zones:
            scopes[f"zones/{zone}"] = unreachable_warning(zone)
    return {"kind": f"compute#{kind}AggregatedList", "id": call.path, "items": scopes, "selfLink": f"{BASE}{call.path}"}


def _offered_kind(call: Call) -> str:
    return "machineType" if "machineTypes" in call.path else "acceleratorType"


def _offered(call: Call, zone: str) -> list[Json]:
    kind = _offered_kind(call)
    if kind == "machineType":
        rows = [(each.name, _machine_type(each)) for each in offers.machine_types(zone)]
    else:
        rows = [
            (name, {"description": offers.ACCELERATOR_TYPES[name], "maximumCardsPerInstance": 8})
            for name in offers.accelerator_types(zone)
        ]
    path = f"{BASE}projects/{call.project}/zones/{zone}/{kind}s"
    return [
        {
            "kind": f"compute#{kind}",
            "id": str(2**60 + sum(name.encode())),
            "creationTimestamp": disks.CREATED,
            "name": name,
            "zone": zone if kind == "machineType" else path.rpartition("/")[0],
            "selfLink": f"{path}/{name}",
        }
        | properties
        for name, properties in rows
    ]


def _machine_type(offered: offers.MachineType) -> Json:
    gpus = [{"guestAcceleratorType": offered.gpu, "guestAcceleratorCount": offered.gpus}] if offered.gpu else []
    return {
        "description": f"{offered.cpus} vCPUs, {offered.memory_mb // 1024} GB RAM",
        "guestCpus": offered.cpus,
        "memoryMb": offered.memory_mb,
        "imageSpaceGb": 0,
        "maximumPersistentDisks": 128,
        "maximumPersistentDisksSizeGb": "263168",
        "isSharedCpu": False,
        "architecture": "X86_64",
    } | ({"accelerators": gpus} if gpus else {})


def _list_response(call: Call, kind: str, resources: Sequence[Json]) -> Json:
    test = filters.parse(call.query.get("filter", ""))
    return page(call, kind, [resource for resource in resources if test(resource)])


def _zone(project: str, zone: str) -> Json:
    region = f"{BASE}projects/{project}/regions/{zone.rpartition('-')[0]}"
    return _place("zone", project, zone) | {"region": region}


def _region(cloud: Cloud, project: str, region: str) -> Json:
    zones = [zone for zone in zones_of(cloud, project) if zone.rpartition("-")[0] == region]
    return _place("region", project, region) | {"zones": [f"{BASE}projects/{project}/zones/{zone}" for zone in zones]}


def _place(kind: str, project: str, name: str) -> Json:
    return {
        "kind": f"compute#{kind}",
        "id": str(2**60 + sum(name.encode())),
        "name": name,
        "description": name,
        "status": "UP",
        "selfLink": f"{BASE}projects/{project}/{kind}s/{name}",
    }
