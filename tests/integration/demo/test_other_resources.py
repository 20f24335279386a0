"""Disks, snapshots, quotas, networks, advice and the APIs beside Compute Engine, in the emulator."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from remote_runtime.demo.gcp_api import networks
from remote_runtime.demo.gcp_api.values import Vm
from tests.support import price_rows
from tests.support.clients.compute_http import ZONE, call, emulated, finished
from tests.support.faults.faulty_emulator import FaultyEmulator, OperationFault, RequestFault

DISKS, SNAPSHOTS = f"projects/demo/zones/{ZONE}/disks", "projects/demo/global/snapshots"
OLD = Vm("old", data_disks=["data"], status="RUNNING", content="files")


def snapshot(emulator: FaultyEmulator, disk: str = "old", name: str = "copy") -> Any:
    status, operation = call(emulator, "POST", f"{DISKS}/{disk}/createSnapshot", {"name": name, "labels": {"by": "me"}})
    assert status == 200, operation
    return finished(emulator, operation)


def elsewhere(emulator: FaultyEmulator, path: str, body: Any = None) -> tuple[int, Any]:
    """The answer of an API whose paths begin with ``v1/``."""
    url = urlsplit(f"{emulator.root}/{path}")
    connection = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=20)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        content = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", f"{url.path}?{url.query}", content, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_disk_moves_to_another_zone_by_a_snapshot() -> None:
    with emulated(OLD) as emulator:
        operation = snapshot(emulator)
        assert operation["operationType"] == "createSnapshot"
        (found,) = call(emulator, "GET", SNAPSHOTS, filter="labels.by=me")[1]["items"]
        assert (found["status"], found["diskSizeGb"], found["labels"]) == ("READY", "100", {"by": "me"})
        assert found == call(emulator, "GET", f"{SNAPSHOTS}/copy")[1]
        there = "projects/demo/zones/europe-west4-a"
        wanted: dict[str, Any] = {
            "name": "new",
            "type": "zones/europe-west4-a/diskTypes/pd-balanced",
            "labels": {"by": "me"},
        }
        status, operation = call(
            emulator, "POST", f"{there}/disks", wanted | {"sourceSnapshot": "global/snapshots/copy"}
        )
        assert status == 200, operation
        finished(emulator, operation)
        disk = call(emulator, "GET", f"{there}/disks/new")[1]
        assert (disk["status"], disk["sizeGb"]) == ("READY", "100")
        assert disk["type"].endswith("/pd-balanced")
        boot = {"boot": True, "autoDelete": True, "source": f"{there}/disks/new"}
        request = {
            "name": "moved",
            "machineType": "zones/europe-west4-a/machineTypes/e2-standard-4",
            "disks": [boot],
            "networkInterfaces": [{}],
        }
        finished(emulator, call(emulator, "POST", f"{there}/instances", request)[1])
        moved = emulator.cloud.instance("demo", "europe-west4-a", "moved")
        assert moved.vm.content == emulator.cloud.instance("demo", ZONE, "old").vm.content == "files"
        assert call(emulator, "GET", f"{there}/disks/new")[1]["users"][0].endswith("/instances/moved")
        finished(emulator, call(emulator, "DELETE", f"{SNAPSHOTS}/copy")[1])
        assert "items" not in call(emulator, "GET", SNAPSHOTS)[1]
        (deletion,) = call(emulator, "GET", "projects/demo/global/operations")[1]["items"]
        assert (deletion["operationType"], deletion["status"]) == ("delete", "DONE")


def test_a_disk_in_use_is_not_deleted_and_all_disks_are_listed() -> None:
    with emulated(OLD) as emulator:
        assert [disk["name"] for disk in call(emulator, "GET", DISKS)[1]["items"]] == ["old", "data"]
        scopes = call(emulator, "GET", "projects/demo/aggregated/disks", filter="name=data")[1]["items"]
        assert [disk["name"] for scope in scopes.values() for disk in scope.get("disks", [])] == ["data"]
        status, answer = call(emulator, "DELETE", f"{DISKS}/data")
        assert (status, answer["error"]["errors"][0]["reason"]) == (400, "resourceInUseByAnotherResource")
        finished(emulator, call(emulator, "DELETE", f"projects/demo/zones/{ZONE}/instances/old")[1])
        assert [disk["name"] for disk in call(emulator, "GET", DISKS)[1]["items"]] == ["data"]
        finished(emulator, call(emulator, "DELETE", f"{DISKS}/data")[1])
        assert call(emulator, "GET", f"{DISKS}/data")[0] == 404


def test_disks_and_snapshots_can_fail_and_leave_nothing() -> None:
    with emulated(OLD) as emulator:
        emulator.cloud.fail_next["disks.createSnapshot"] = OperationFault("INTERNAL_ERROR")
        assert snapshot(emulator)["error"]["errors"][0]["code"] == "INTERNAL_ERROR"
        assert call(emulator, "GET", f"{SNAPSHOTS}/copy")[0] == 404
        assert "error" not in snapshot(emulator)
        assert call(emulator, "POST", SNAPSHOTS, {"name": "copy", "sourceDisk": f"{DISKS}/old"})[0] == 409
        emulator.cloud.fail_next["disks.insert"] = OperationFault("QUOTA_EXCEEDED")
        failed = finished(emulator, call(emulator, "POST", DISKS, {"name": "new", "sizeGb": "10"})[1])
        assert failed["error"]["errors"][0]["code"] == "QUOTA_EXCEEDED"
        assert call(emulator, "GET", f"{DISKS}/new")[0] == 404
        small = {"name": "new", "sizeGb": "10", "sourceSnapshot": "global/snapshots/copy"}
        assert call(emulator, "POST", DISKS, small)[0] == 400
        emulator.cloud.refusals["snapshots.delete"] = RequestFault(503)
        assert call(emulator, "DELETE", f"{SNAPSHOTS}/copy")[0] == 503


@pytest.mark.parametrize(
    ("permission", "verb", "path", "body"),
    [
        ("compute.disks.create", "POST", DISKS, {"name": "new"}),
        ("compute.disks.delete", "DELETE", f"{DISKS}/data", None),
        ("compute.disks.createSnapshot", "POST", f"{DISKS}/old/createSnapshot", {"name": "copy"}),
        ("compute.snapshots.create", "POST", SNAPSHOTS, {"name": "copy", "sourceDisk": f"{DISKS}/old"}),
        ("compute.snapshots.list", "GET", SNAPSHOTS, None),
        ("compute.regions.get", "GET", "projects/demo/regions/us-central1", None),
        ("compute.advice.capacity", "POST", "projects/demo/regions/us-central1/advice/capacity", {}),
        ("compute.instances.delete", "DELETE", f"projects/demo/zones/{ZONE}/instances/old", None),
    ],
)
def test_each_call_can_lack_its_permission(permission: str, verb: str, path: str, body: Any) -> None:
    with emulated(OLD) as emulator:
        emulator.forbidden_permissions.add(permission)
        status, answer = call(emulator, verb, path, body)
        assert (status, answer["error"]["errors"][0]["reason"]) == (403, "forbidden")
        assert answer["error"]["message"].startswith(f"Required '{permission}' permission")


def test_quotas_have_limit_and_usage() -> None:
    with emulated(Vm("gpu", machine_type="n1-standard-8", accelerator="nvidia-tesla-t4", status="RUNNING")) as emulator:
        emulator.cloud.quota_limits["us-central1", "NVIDIA_T4_GPUS"] = 2.0

        def quota(path: str, metric: str) -> tuple[float, float]:
            quotas = call(emulator, "GET", path)[1]["quotas"]
            (found,) = [each for each in quotas if each["metric"] == metric]
            return found["limit"], found["usage"]

        assert quota("projects/demo/regions/us-central1", "NVIDIA_T4_GPUS") == (2.0, 1.0)
        assert quota("projects/demo/regions/us-central1", "CPUS")[1] == 8.0
        assert quota("projects/demo/regions/us-east1", "NVIDIA_T4_GPUS")[1] == 0.0
        assert quota("projects/demo", "GPUS_ALL_REGIONS")[1] == 1.0
        assert call(emulator, "GET", "projects/demo/regions/moon1")[0] == 404


def test_networks_can_be_read_and_cloud_nat_is_on_a_router() -> None:
    with emulated(OLD) as emulator:
        assert call(emulator, "GET", "projects/demo/global/networks/default")[1]["autoCreateSubnetworks"] is True
        region = "projects/demo/regions/us-central1"
        assert call(emulator, "GET", f"{region}/subnetworks/default")[1]["purpose"] == "PRIVATE"
        assert [each["name"] for each in call(emulator, "GET", f"{region}/subnetworks")[1]["items"]] == ["default"]
        assert "items" not in call(emulator, "GET", f"{region}/routers")[1]
        emulator.cloud.networks["demo"]["routers"].append(networks.router("demo", "us-central1"))
        (router,) = call(emulator, "GET", f"{region}/routers")[1]["items"]
        assert router["nats"][0]["sourceSubnetworkIpRangesToNat"] == "ALL_SUBNETWORKS_ALL_IP_RANGES"
        scopes = call(emulator, "GET", "projects/demo/aggregated/routers")[1]["items"]
        assert [scope for scope, found in scopes.items() if "routers" in found] == ["regions/us-central1"]
        mine = networks.address(
            "demo", "us-central1", "mine", "203.0.113.9", f"projects/demo/zones/{ZONE}/instances/old"
        )
        emulator.cloud.networks["demo"]["addresses"].append(mine)
        scopes = call(emulator, "GET", "projects/demo/aggregated/addresses")[1]["items"]
        assert scopes["regions/us-central1"]["addresses"][0]["status"] == "IN_USE"
        assert call(emulator, "GET", "projects/demo/global/firewalls/default-allow-ssh")[0] == 200
        assert call(emulator, "GET", "projects/demo/global/firewalls/other")[0] == 404


def test_advice_names_the_best_zones_of_a_region() -> None:
    selection = {"first": {"machineTypes": ["g2-standard-8"]}}
    request = {
        "instanceProperties": {"scheduling": {"provisioningModel": "SPOT"}},
        "instanceFlexibilityPolicy": {"instanceSelections": selection},
        "distributionPolicy": {"targetShape": "ANY_SINGLE_ZONE"},
        "size": 1,
    }
    path = "projects/demo/regions/us-central1/advice"
    with emulated(OLD) as emulator:
        emulator.cloud.obtainability["us-central1-c"] = 0.9
        (best,) = call(emulator, "POST", f"{path}/capacity", request)[1]["recommendations"]
        assert [shard["zone"].rpartition("/")[2] for shard in best["shards"]] == ["us-central1-c"]
        assert best["scores"] == {"obtainability": 0.9, "estimatedUptime": "21600s"}
        only = request | {"distributionPolicy": {"targetShape": "ANY", "zones": [{"zone": f"zones/{ZONE}"}]}}
        (one,) = call(emulator, "POST", f"{path}/capacity", only)[1]["recommendations"]
        assert [shard["zone"].rpartition("/")[2] for shard in one["shards"]] == [ZONE]
        selection["first"]["machineTypes"] = ["g2-standard-9"]
        assert call(emulator, "POST", f"{path}/capacity", request)[0] == 400
        emulator.cloud.spot_prices["us-central1", "g2-standard-8"] = 1.25
        history = {
            "instanceProperties": {"machineType": "g2-standard-8", "scheduling": {"provisioningModel": "SPOT"}},
            "types": ["PRICE"],
        }
        (record,) = call(emulator, "POST", f"{path}/capacityHistory", history)[1]["priceHistory"]
        assert record["listPrice"] == {"currencyCode": "USD", "units": "1", "nanos": 250000000}


def test_apis_can_be_off_and_permissions_of_a_project_missing() -> None:
    names = "&".join(f"names=projects/demo/services/{name}.googleapis.com" for name in ("compute", "iap"))
    with emulated(OLD) as emulator:
        emulator.cloud.disabled_services.add("iap.googleapis.com")
        services = elsewhere(emulator, f"v1/projects/demo/services:batchGet?{names}")[1]["services"]
        found = {service["config"]["name"]: service["state"] for service in services}
        assert found == {"compute.googleapis.com": "ENABLED", "iap.googleapis.com": "DISABLED"}
        emulator.forbidden_permissions.add("compute.instances.create")
        wanted = {"permissions": ["compute.instances.create", "compute.instances.get"]}
        granted = elsewhere(emulator, "v1/projects/demo:testIamPermissions", wanted)[1]
        assert granted == {"permissions": ["compute.instances.get"]}
        emulator.forbidden_permissions.add("serviceusage.services.get")
        assert elsewhere(emulator, f"v1/projects/demo/services:batchGet?{names}")[0] == 403
        assert elsewhere(emulator, "v1/projects")[1]["projects"][0]["projectId"] == "demo"


def test_the_price_list_has_pages() -> None:
    path = "v1/services/6F81-5844-456A/skus"
    with emulated(OLD) as emulator:
        rows = emulator.cloud.skus = price_rows.catalogue()
        read: list[Any] = []
        token = ""
        while token or not read:
            page = elsewhere(emulator, f"{path}?pageSize=20&pageToken={token}")[1]
            assert len(page["skus"]) <= 20
            read, token = read + page["skus"], page["nextPageToken"]
        assert read == rows
        assert elsewhere(emulator, f"{path}?pageToken=x")[0] == 400
        emulator.cloud.disabled_services.add("cloudbilling.googleapis.com")
        assert elsewhere(emulator, path)[0] == 403
