"""The methods of ``disks`` and ``snapshots``: each answers a ``Call`` with JSON or raises ``ApiError``."""

from __future__ import annotations

from . import filters
from .api_errors import ApiError, already_exists
from .creation import check_labels, check_name, last_segment, make_disk
from .disks import EmulatedDisk, EmulatedSnapshot
from .operations import Operation
from .request import Call, list_response, no_results_warning, page, unreachable_warning, zones_of
from .state import USER, Cloud
from .values import Json


def get(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        return _as_json(cloud, cloud.disk(call.project, call.zone, call.names["disk"]))


def list_(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        found = [_as_json(cloud, disk) for disk in _disks(cloud, call) if disk.zone == call.zone]
    return list_response(call, "compute#diskList", found)


def aggregated_list(cloud: Cloud, call: Call) -> Json:
    test = filters.parse(call.query.get("filter", ""))
    scopes: Json = {}
    with cloud.changed:
        for zone in zones_of(cloud, call.project):
            found = [_as_json(cloud, disk) for disk in _disks(cloud, call) if disk.zone == zone]
            found = [disk for disk in found if test(disk)]
            scopes[f"zones/{zone}"] = {"disks": found} if found else no_results_warning(zone)
            if zone in cloud.unreachable_zones:
                scopes[f"zones/{zone}"] = unreachable_warning(zone)
    return page(call, "compute#diskAggregatedList", []) | {"items": scopes}


def insert(cloud: Cloud, call: Call) -> Json:
    body = dict(call.body or {})
    if "sourceImage" in call.query:
        body["sourceImage"] = call.query["sourceImage"]
    with cloud.changed:
        check_labels(body.get("labels", {}))
        disk = make_disk(cloud, call, body.get("name", ""), body, "resource")
        disk.status = "CREATING"
        operation = Operation("insert", call.project, call.zone, disk.resource, disk.id, USER)
        cloud.start("disks.insert", operation, lambda: _set_ready(disk), lambda: cloud.disks.remove(disk))
        cloud.disks.append(disk)
        return operation.as_json()


def delete(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        disk = cloud.disk(call.project, call.zone, call.names["disk"])
        for user in cloud.users_of(disk):
            message = f"The disk resource '{disk.resource}' is already being used by '{user.resource}'"
            raise ApiError(400, "resourceInUseByAnotherResource", message)
        operation = Operation("delete", call.project, call.zone, disk.resource, disk.id, USER)
        cloud.start("disks.delete", operation, lambda: cloud.disks.remove(disk))
        return operation.as_json()


def create_snapshot(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        disk = cloud.disk(call.project, call.zone, call.names["disk"])
        snapshot = _new_snapshot(cloud, call, disk)
        operation = Operation("createSnapshot", call.project, call.zone, disk.resource, disk.id, USER)
        _start_snapshot(cloud, snapshot, operation, "disks.createSnapshot")
        return operation.as_json()


def snapshots_insert(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        project, zone, name = (call.body or {}).get("sourceDisk", "").split("/")[-5::2]
        snapshot = _new_snapshot(cloud, call, cloud.disk(project, zone, name))
        operation = Operation("insert", call.project, "", snapshot.resource, snapshot.id, USER)
        _start_snapshot(cloud, snapshot, operation, "snapshots.insert")
        return operation.as_json()


def snapshots_get(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        return cloud.snapshot(call.project, call.names["snapshot"]).as_json()


def snapshots_list(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        found = [snapshot.as_json() for snapshot in cloud.snapshots if snapshot.project == call.project]
    return list_response(call, "compute#snapshotList", found)


def snapshots_delete(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        snapshot = cloud.snapshot(call.project, call.names["snapshot"])
        operation = Operation("delete", call.project, "", snapshot.resource, snapshot.id, USER)
        cloud.start("snapshots.delete", operation, lambda: cloud.snapshots.remove(snapshot))
        return operation.as_json()


def _disks(cloud: Cloud, call: Call) -> list[EmulatedDisk]:
    return [disk for disk in cloud.disks if disk.project == call.project]


def _as_json(cloud: Cloud, disk: EmulatedDisk) -> Json:
    return disk.as_json([user.resource for user in cloud.users_of(disk)])


def _set_ready(made: EmulatedDisk | EmulatedSnapshot) -> None:
    made.status = "READY"


def _new_snapshot(cloud: Cloud, call: Call, disk: EmulatedDisk) -> EmulatedSnapshot:
    body = call.body or {}
    check_name("resource.name", body.get("name", ""))
    check_labels(body.get("labels", {}))
    snapshot = EmulatedSnapshot(call.project, last_segment(body["name"]), disk, body.get("labels", {}))
    if any(other.resource == snapshot.resource for other in cloud.snapshots):
        raise already_exists(snapshot.resource)
    return snapshot


def _start_snapshot(cloud: Cloud, snapshot: EmulatedSnapshot, operation: Operation, verb: str) -> None:
    cloud.start(verb, operation, lambda: _set_ready(snapshot), lambda: cloud.snapshots.remove(snapshot))
    cloud.snapshots.append(snapshot)
