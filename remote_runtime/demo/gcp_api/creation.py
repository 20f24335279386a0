"""Reads the body of ``instances.insert``: what it asks for, completed as Compute Engine completes it, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from . import offers
from .api_errors import ApiError, act_as_forbidden, already_exists, forbidden, invalid, not_found, not_ready
from .disks import EmulatedDisk, find_image, image_resource
from .operations import BASE
from .request import Call, parse_metadata
from .state import DEFAULT_SERVICE_ACCOUNT, Cloud
from .values import Json, Vm

_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY, _LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
_TERMINATING_MODELS = ("SPOT", "FLEX_START")
_KEPT_PROPERTIES = ("shieldedInstanceConfig", "reservationAffinity", "displayDevice", "keyRevocationActionType")
FLEX_START_MAX_RUN_S = 7 * 24 * 3600
MAX_VALID_FOR_S = 2 * 3600


@dataclass(frozen=True)
class NewInstance:
    """``parts``: properties of the resource; ``disks``: those to be made; ``valid_for_s``: how long it may wait."""

    vm: Vm
    parts: Json
    disks: tuple[EmulatedDisk, ...]
    valid_for_s: float


def read_instance(cloud: Cloud, call: Call) -> NewInstance:
    """Raises ``ApiError``. The caller holds the cloud's lock."""
    body = call.body or {}
    name = body.get("name", "")
    check_name("resource.name", name)
    resource = f"projects/{call.project}/zones/{call.zone}/instances/{name}"
    if any(instance.resource == resource for instance in cloud.instances):
        raise already_exists(resource)
    machine_type = _machine_type(call.zone, body.get("machineType", ""))
    accelerators = _accelerators(call, body, machine_type)
    scheduling = _scheduling(body.get("scheduling", {}), has_gpu=bool(accelerators))
    valid_for_s = _valid_for_s(body, scheduling)
    labels = body.get("labels", {})
    check_labels(labels)
    metadata, _ = parse_metadata(body.get("metadata"))
    interface = _interface(cloud, call, body)
    accounts = [_service_account(account) for account in body.get("serviceAccounts", [])]
    for permission, where in _needed_permissions(body, interface, accounts):
        if not cloud.permits(permission):
            raise forbidden(permission, _filled_in(where, call, name))
    if accounts and not cloud.permits("iam.serviceAccounts.actAs"):
        raise act_as_forbidden(accounts[0]["email"])
    attached = list(_disks(cloud, call, body, name))
    parts: Json = {
        "description": body.get("description", ""),
        "tags": {"fingerprint": "42WmSpB8rSM="}
        | ({"items": tags} if (tags := body.get("tags", {}).get("items")) else {}),
        "scheduling": scheduling,
        "disks": [disk.attachment(given, index) for index, (given, disk) in enumerate(attached)],
        "deletionProtection": body.get("deletionProtection", False),
    }
    parts |= {"guestAccelerators": accelerators} if accelerators else {}
    parts |= {"serviceAccounts": accounts} if accounts else {}
    parts |= {kept: body[kept] for kept in _KEPT_PROPERTIES if kept in body}
    vm = Vm(
        name,
        call.project,
        call.zone,
        status="PROVISIONING",
        labels=labels,
        metadata=metadata,
        network=interface["network"],
        subnetwork=interface["subnetwork"],
        external=bool(interface.get("accessConfigs")),
        service_account=accounts[0]["email"] if accounts else "",
        spot=scheduling["provisioningModel"] == "SPOT",
        machine_type=machine_type.name,
        accelerator=last_segment(accelerators[0]["acceleratorType"]) if accelerators else "",
        content=attached[0][1].content,
    )
    return NewInstance(vm, parts, tuple(disk for given, disk in attached if "initializeParams" in given), valid_for_s)


def check_name(field: str, name: str) -> None:
    """Raises ``ApiError`` 400."""
    if not _NAME.fullmatch(name):
        raise invalid(f"Invalid value for field '{field}': '{name}'. Must be a match of regex '{_NAME.pattern}'")


def check_labels(labels: Json) -> None:
    """Raises ``ApiError`` 400."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise invalid(
                f"Invalid value for field 'resource.labels': ''. Label key '{key}' violates format constraints."
            )
        if not _LABEL_VALUE.fullmatch(value):
            raise invalid(
                f"Invalid value for field 'resource.labels': ''. Label value '{value}' violates format constraints."
            )


def _machine_type(zone: str, url: str) -> offers.MachineType:
    name = last_segment(url)
    for offered in offers.machine_types(zone):
        if offered.name == name and url.endswith(f"zones/{zone}/machineTypes/{name}"):
            return offered
    raise invalid(
        f"Invalid value for field 'resource.machineType': '{url}'. Machine type with name '{name}' does not exist in "
        f"zone '{zone}'."
    )


def _accelerators(call: Call, body: Json, machine_type: offers.MachineType) -> list[Json]:
    where = f"projects/{call.project}/zones/{call.zone}/acceleratorTypes"
    found = [
        (last_segment(each["acceleratorType"]), each["acceleratorCount"]) for each in body.get("guestAccelerators", [])
    ]
    if not found and machine_type.gpu:
        found = [(machine_type.gpu, machine_type.gpus)]
    for name, _ in found:
        if name not in offers.accelerator_types(call.zone):
            raise not_found(f"{where}/{name}")
    return [{"acceleratorType": f"{BASE}{where}/{name}", "acceleratorCount": count} for name, count in found]


def _scheduling(given: Json, *, has_gpu: bool) -> Json:
    model = given.get("provisioningModel") or ("SPOT" if given.get("preemptible") else "STANDARD")
    terminates = model in _TERMINATING_MODELS
    default = {
        "onHostMaintenance": "TERMINATE" if terminates else "MIGRATE",
        "automaticRestart": not terminates,
        "preemptible": model == "SPOT",
        "provisioningModel": model,
    }
    if model == "SPOT":
        default["instanceTerminationAction"] = "STOP"
    scheduling: Json = default | given
    if has_gpu and scheduling["onHostMaintenance"] != "TERMINATE":
        raise ApiError(400, "badRequest", "Instances with guest accelerators do not support live migration.")
    if terminates and scheduling["automaticRestart"]:
        raise invalid(
            "Invalid value for field 'resource.scheduling.automaticRestart': 'true'. Instances with provisioning model "
            f"{model} cannot be restarted automatically."
        )
    max_run_s = int(given.get("maxRunDuration", {}).get("seconds", 0))
    if model == "FLEX_START" and not 600 <= max_run_s <= FLEX_START_MAX_RUN_S:
        raise invalid(
            f"Invalid value for field 'resource.scheduling.maxRunDuration': '{max_run_s}s'. It has to be between 10 "
            "minutes and 7 days for provisioning model FLEX_START."
        )
    if given.get("maxRunDuration") and "instanceTerminationAction" not in scheduling:
        raise invalid(
            "Invalid value for field 'resource.scheduling.instanceTerminationAction': ''. It has to be given with "
            "maxRunDuration."
        )
    return scheduling


def _valid_for_s(body: Json, scheduling: Json) -> int:
    seconds = int(body.get("params", {}).get("requestValidForDuration", {}).get("seconds", 0))
    if seconds and (scheduling["provisioningModel"] != "FLEX_START" or not 90 <= seconds <= MAX_VALID_FOR_S):
        raise invalid(
            f"Invalid value for field 'resource.params.requestValidForDuration': '{seconds}s'. It has to be 0 or "
            "between 90 seconds and 2 hours, for provisioning model FLEX_START."
        )
    return seconds


def _interface(cloud: Cloud, call: Call, body: Json) -> Json:
    """The first one, with the short names of its network and its subnetwork."""
    interfaces = body.get("networkInterfaces", [])
    if not interfaces:
        raise invalid(
            "Invalid value for field 'resource.networkInterfaces': ''. At least one network interface is required."
        )
    interface = dict(interfaces[0])
    region = offers.region_of(call.zone)
    known = cloud.networks[call.project]
    network = last_segment(interface.get("network", "default"))
    subnetwork = last_segment(interface.get("subnetwork", network))
    for found in known["subnetworks"]:
        if found["region"].endswith(f"/{region}") and found["name"] == subnetwork:
            return interface | {"network": last_segment(found["network"]), "subnetwork": subnetwork}
    if "subnetwork" in interface:
        raise not_found(f"projects/{call.project}/regions/{region}/subnetworks/{subnetwork}")
    raise not_found(f"projects/{call.project}/global/networks/{network}")


def _service_account(given: Json) -> Json:
    email = given.get("email", "default")
    if email == "default":
        email = DEFAULT_SERVICE_ACCOUNT
    return {"email": email, "scopes": list(given.get("scopes", []))}


def _filled_in(resource: str, call: Call, name: str) -> str:
    return resource.format(project=call.project, zone=call.zone, region=offers.region_of(call.zone), name=name)


def _needed_permissions(body: Json, interface: Json, accounts: list[Json]) -> Iterator[tuple[str, str]]:
    """(permission, resource), besides ``compute.instances.create``."""
    instance = "projects/{project}/zones/{zone}/instances/{name}"
    subnetwork = "projects/{project}/regions/{region}/subnetworks/" + interface["subnetwork"]
    if any("initializeParams" in disk for disk in body.get("disks", [])):
        yield "compute.disks.create", "projects/{project}/zones/{zone}/disks/{name}"
    yield "compute.subnetworks.use", subnetwork
    if interface.get("accessConfigs"):
        yield "compute.subnetworks.useExternalIp", subnetwork
    for part, permission in (("labels", "setLabels"), ("metadata", "setMetadata"), ("tags", "setTags")):
        if body.get(part):
            yield f"compute.instances.{permission}", instance
    if accounts:
        yield "compute.instances.setServiceAccount", instance


def _disks(cloud: Cloud, call: Call, body: Json, name: str) -> Iterator[tuple[Json, EmulatedDisk]]:
    """(the request's entry, the disk), the boot disk first."""
    given = sorted(body.get("disks", []), key=lambda disk: not disk.get("boot"))
    if not given or not given[0].get("boot"):
        raise invalid("Invalid value for field 'resource.disks': ''. Boot disk must be specified.")
    for index, disk in enumerate(given):
        if "initializeParams" not in disk:
            yield disk, cloud.disk(call.project, call.zone, last_segment(disk.get("source", "")))
            continue
        params = disk["initializeParams"]
        disk_name = params.get("diskName") or (name if index == 0 else f"{name}-{index}")
        yield disk, make_disk(cloud, call, disk_name, params, f"resource.disks[{index}].initializeParams")


def make_disk(cloud: Cloud, call: Call, name: str, given: Json, field: str) -> EmulatedDisk:
    """A disk that is not in the cloud yet, of an image, a snapshot or nothing. ``field``: of ``given`` in the request.

    Raises ``ApiError``.
    """
    check_name(f"{field}.diskName", name)
    source, content, least_gb = _source(cloud, call.project, given, field)
    size_gb = int(given.get("diskSizeGb") or given.get("sizeGb") or least_gb)
    if size_gb < least_gb:
        raise invalid(
            f"Invalid value for field '{field}.diskSizeGb': '{size_gb}'. Requested disk size cannot be smaller than "
            f"the image size ({least_gb} GB)"
        )
    kind = last_segment(given.get("diskType") or given.get("type") or "pd-standard")
    disk = EmulatedDisk(call.project, call.zone, name, size_gb, kind, source, content, given.get("labels", {}))
    if any(other.resource == disk.resource for other in cloud.disks):
        raise already_exists(disk.resource)
    return disk


def _source(cloud: Cloud, project: str, given: Json, field: str) -> tuple[str, str, int]:
    """(resource, content, size in GB) of the image or the snapshot that ``given`` names; the owner can be left out."""
    if not given.get("sourceImage") and not given.get("sourceSnapshot"):
        return "", "", 10
    url = given.get("sourceImage") or given["sourceSnapshot"]
    match = re.search(r"(?:projects/([^/]+)/)?global/(images|snapshots)/(family/)?([^/]+)$", url)
    if match is None:
        raise invalid(f"Invalid value for field '{field}.sourceImage': '{url}'. The URL is malformed.")
    owner, kind, family, name = match.groups()
    if kind == "snapshots":
        snapshot = cloud.snapshot(owner or project, name)
        if snapshot.status != "READY":
            raise not_ready(snapshot.resource)
        return snapshot.resource, snapshot.disk.content, snapshot.disk.size_gb
    image = find_image(owner or project, name, name if family else "")
    if image is None:
        raise not_found(f"projects/{owner or project}/global/images/{family or ''}{name}")
    return image_resource(image), "", image.size_gb


def last_segment(url: str) -> str:
    return url.rpartition("/")[2]
