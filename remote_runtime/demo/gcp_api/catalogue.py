"""The API methods that list what exists: projects, regions, zones, machine and accelerator types, firewall rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import filters
from .api_errors import forbidden
from .operations import BASE
from .request import Call, no_results_warning, page, unreachable_warning, zones_of
from .state import Cloud
from .values import ACCELERATOR_TYPES, MACHINE_TYPES, Json

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


def machine_types(cloud: Cloud, call: Call) -> Json:
    return _aggregated_list(cloud, call, "machineType", MACHINE_TYPES)


def accelerator_types(cloud: Cloud, call: Call) -> Json:
    return _aggregated_list(cloud, call, "acceleratorType", ACCELERATOR_TYPES)


def _list_response(call: Call, kind: str, resources: Sequence[Json]) -> Json:
    test = filters.parse(call.query.get("filter", ""))
    return page(call, kind, [resource for resource in resources if test(resource)])


def _aggregated_list(cloud: Cloud, call: Call, what: str, offers: Mapping[str, Sequence[str]]) -> Json:
    test = filters.parse(call.query.get("filter", ""))
    scopes: Json = {}
    for zone in zones_of(cloud, call.project):
        path = f"projects/{call.project}/zones/{zone}/{what}s"
        offered = [
            {"kind": f"compute#{what}", "name": name, "zone": zone, "selfLink": f"{BASE}{path}/{name}"}
            for name in offers.get(zone, ())
        ]
        found = [each for each in offered if test(each)]
        scopes[f"zones/{zone}"] = {f"{what}s": found} if found else no_results_warning(zone)
        if zone in cloud.unreachable_zones:
            scopes[f"zones/{zone}"] = unreachable_warning(zone)
    return {"kind": f"compute#{what}AggregatedList", "id": call.path, "items": scopes, "selfLink": f"{BASE}{call.path}"}


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
