"""The API methods that show what exists: regions, zones, networks, images, machine types, GPUs."""

from __future__ import annotations

from . import disks, filters, offers
from .api_errors import not_found
from .operations import BASE
from .quotas import quotas_as_json
from .request import Call, list_response, no_results_warning, page, unreachable_warning, zones_of
from .state import Cloud
from .values import Json


def zones_get(cloud: Cloud, call: Call) -> Json:
    return _zone(call.project, call.zone)


def zones_list(cloud: Cloud, call: Call) -> Json:
    return list_response(
        call, "compute#zoneList", [_zone(call.project, zone) for zone in zones_of(cloud, call.project)]
    )


def regions_get(cloud: Cloud, call: Call) -> Json:
    region = call.names["region"]
    if region not in _regions(cloud, call):
        raise not_found(call.path)
    return _region(cloud, call.project, region)


def regions_list(cloud: Cloud, call: Call) -> Json:
    found = [_region(cloud, call.project, region) for region in _regions(cloud, call)]
    return list_response(call, "compute#regionList", found)


def stored_get(cloud: Cloud, call: Call) -> Json:
    """A network, a subnetwork, a router, a firewall rule, an address."""
    for resource in _stored(cloud, call):
        if resource["name"] == call.names["name"]:
            return resource
    raise not_found(call.path)


def stored_list(cloud: Cloud, call: Call) -> Json:
    return list_response(call, f"compute#{_singular(_collection(call))}List", _stored(cloud, call))


def stored_aggregated_list(cloud: Cloud, call: Call) -> Json:
    test = filters.parse(call.query.get("filter", ""))
    collection = _collection(call)
    scopes: Json = {}
    for region in _regions(cloud, call):
        found = [each for each in _stored(cloud, call) if _is_in(each, region) and test(each)]
        scopes[f"regions/{region}"] = {collection: found} if found else no_results_warning(region, "regions")
    kind = _singular(collection)
    return page(call, f"compute#{kind}AggregatedList", []) | {"items": scopes}


def effective_firewalls(cloud: Cloud, call: Call) -> Json:
    """The rules of the network that ``network`` names by its path, and the policies of all networks."""
    with cloud.changed:
        rules = [
            dict(rule)
            for rule in cloud.networks[call.project]["firewalls"]
            if rule["network"].endswith(f"/{call.query['network']}")
        ]
        policies = [dict(policy) for policy in cloud.firewall_policies]
    return {"firewalls": rules, **({"firewallPolicys": policies} if policies else {})}


def _collection(call: Call) -> str:
    return call.method_id.split(".")[1]


def _singular(collection: str) -> str:
    return collection.removesuffix("es") if collection == "addresses" else collection.removesuffix("s")


def _stored(cloud: Cloud, call: Call) -> list[Json]:
    region = call.names.get("region", "")
    with cloud.changed:
        resources = [dict(each) for each in cloud.networks[call.project][_collection(call)]]
    return [each for each in resources if not region or _is_in(each, region)]


def _is_in(resource: Json, region: str) -> bool:
    return str(resource["region"]).endswith(f"/regions/{region}")


def _regions(cloud: Cloud, call: Call) -> list[str]:
    return sorted({offers.region_of(zone) for zone in zones_of(cloud, call.project)})


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
    return list_response(call, f"compute#{_offered_kind(call)}List", _offered(call, call.zone))


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


def _zone(project: str, zone: str) -> Json:
    region = f"{BASE}projects/{project}/regions/{zone.rpartition('-')[0]}"
    return _place("zone", project, zone) | {"region": region}


def _region(cloud: Cloud, project: str, region: str) -> Json:
    zones = [zone for zone in zones_of(cloud, project) if offers.region_of(zone) == region]
    with cloud.changed:
        instances = [instance for instance in cloud.instances if instance.vm.project == project]
        quotas = quotas_as_json(instances, cloud.quota_limits, region)
    return _place("region", project, region) | {
        "quotas": quotas,
        "zones": [f"{BASE}projects/{project}/zones/{zone}" for zone in zones],
    }


def _place(kind: str, project: str, name: str) -> Json:
    return {
        "kind": f"compute#{kind}",
        "id": str(2**60 + sum(name.encode())),
        "name": name,
        "description": name,
        "status": "UP",
        "selfLink": f"{BASE}projects/{project}/{kind}s/{name}",
    }
