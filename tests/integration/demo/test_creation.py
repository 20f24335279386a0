"""What the emulator creates and deletes, through plain HTTP and Google's client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.clients.compute_http import QUICK, ZONE, call, emulated, finished
from tests.support.faults.faulty_emulator import FaultyEmulator, OperationFault

PROJECT: dict[str, Any] = {"project_metadata": {"demo": {}}}
FAMILY = "projects/deeplearning-platform-release/global/images/family/pytorch-2-9-cu129-ubuntu-2404-nvidia-580"
TERMINATE = {"onHostMaintenance": "TERMINATE"}


def body(zone: str = ZONE, **more: Any) -> dict[str, Any]:
    """A request for a VM with one L4."""
    disk = {"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": FAMILY, "diskSizeGb": "100"}}
    return {
        "name": "my-l4",
        "machineType": f"zones/{zone}/machineTypes/g2-standard-8",
        "disks": [disk],
        "networkInterfaces": [{"network": "global/networks/default"}],
        "scheduling": TERMINATE,
    } | more


def insert(emulator: FaultyEmulator, zone: str = ZONE, request: Any = None, **query: str) -> tuple[int, Any]:
    return call(emulator, "POST", f"projects/demo/zones/{zone}/instances", request or body(zone), **query)


def created(emulator: FaultyEmulator, zone: str = ZONE, request: Any = None) -> Any:
    """The finished operation."""
    status, operation = insert(emulator, zone, request)
    assert status == 200, operation
    return finished(emulator, operation)


def show(emulator: FaultyEmulator, zone: str = ZONE) -> tuple[int, Any]:
    return call(emulator, "GET", f"projects/demo/zones/{zone}/instances/my-l4")


def delete(emulator: FaultyEmulator, zone: str = ZONE) -> tuple[int, Any]:
    return call(emulator, "DELETE", f"projects/demo/zones/{zone}/instances/my-l4")


def wait_for_status(emulator: FaultyEmulator, *statuses: str) -> str:
    """The status of the only instance, when it is one of these; empty: it is gone."""

    def status() -> str:
        return emulator.cloud.instances[0].status if emulator.cloud.instances else ""

    with emulator.cloud.changed:
        assert emulator.cloud.changed.wait_for(lambda: status() in statuses, 20), status()
        return status()


def test_an_instance_is_made_with_its_disk_and_deleted_with_it() -> None:
    request = body(
        labels={"remote-runtime-created-by": "abc"},
        metadata={"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
        tags={"items": ["notebook"]},
        serviceAccounts=[{"email": "default", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}],
    )
    with emulated(**PROJECT) as emulator:
        operation = created(emulator, request=request)
        assert (operation["operationType"], operation["progress"], "error" in operation) == ("insert", 100, False)
        found = show(emulator)[1]
        assert found["status"] == "RUNNING"
        assert found["labels"] == request["labels"]
        assert found["metadata"]["items"] == request["metadata"]["items"]
        assert found["tags"]["items"] == ["notebook"]
        assert found["guestAccelerators"][0]["acceleratorType"].endswith("/nvidia-l4")
        assert found["serviceAccounts"][0]["email"].endswith("-compute@developer.gserviceaccount.com")
        assert "accessConfigs" not in found["networkInterfaces"][0]
        assert [disk["source"].rpartition("/")[2] for disk in found["disks"]] == ["my-l4"]
        assert [(disk.name, disk.size_gb) for disk in emulator.cloud.disks] == [("my-l4", 100)]
        operation = finished(emulator, delete(emulator)[1])
        assert operation["operationType"] == "delete"
        assert show(emulator)[0] == 404
        assert delete(emulator)[0] == 404
    assert emulator.cloud.disks == []


def test_a_disk_that_is_not_deleted_with_its_instance_is_in_the_way_of_the_next() -> None:
    request = body()
    request["disks"][0]["autoDelete"] = False
    with emulated(**PROJECT) as emulator:
        created(emulator, request=request)
        finished(emulator, delete(emulator)[1])
        status, answer = insert(emulator)
    assert (status, answer["error"]["errors"][0]["reason"]) == (409, "alreadyExists")
    assert answer["error"]["message"] == f"The resource 'projects/demo/zones/{ZONE}/disks/my-l4' already exists"


def test_a_request_that_is_repeated_has_no_second_effect() -> None:
    with emulated(**PROJECT) as emulator:
        request_id = "c7a1bd33-1d2a-4b5c-8b4d-000000000001"
        first, again = (insert(emulator, requestId=request_id) for _ in range(2))
        assert first[0] == again[0] == 200
        assert first[1]["name"] == again[1]["name"]
        status, answer = insert(emulator, requestId="c7a1bd33-1d2a-4b5c-8b4d-000000000002")
        assert (status, answer["error"]["errors"][0]["reason"]) == (409, "alreadyExists")
        assert insert(emulator, "us-central1-b")[0] == 200  # a name is taken in its zone only


@pytest.mark.parametrize(
    ("more", "status", "reason", "said"),
    [
        ({"name": "My_VM"}, 400, "invalid", "resource.name"),
        ({"labels": {"by": "a b"}}, 400, "invalid", "Label value 'a b' violates"),
        ({"machineType": f"zones/{ZONE}/machineTypes/g2-standard-9"}, 400, "invalid", "does not exist in zone"),
        ({"machineType": "zones/us-central1-f/machineTypes/g2-standard-8"}, 400, "invalid", "does not exist in zone"),
        ({"scheduling": {}}, 400, "badRequest", "do not support live migration"),
        ({"guestAccelerators": [{"acceleratorType": "x/nvidia-k1", "acceleratorCount": 1}]}, 404, "notFound", "k1"),
        ({"networkInterfaces": []}, 400, "invalid", "networkInterfaces"),
        ({"networkInterfaces": [{"network": "global/networks/no"}]}, 404, "notFound", "global/networks/no"),
        ({"networkInterfaces": [{"subnetwork": "x/subnetworks/no"}]}, 404, "notFound", "us-central1/subnetworks/no"),
        ({"disks": []}, 400, "invalid", "resource.disks"),
        (
            {"disks": [{"boot": True, "initializeParams": {"sourceImage": FAMILY, "diskSizeGb": "20"}}]},
            400,
            "invalid",
            "the image size (50 GB)",
        ),
        (
            {"disks": [{"boot": True, "initializeParams": {"sourceImage": f"{FAMILY}x"}}]},
            404,
            "notFound",
            "images/family/pytorch",
        ),
        ({"disks": [{"boot": True, "source": f"zones/{ZONE}/disks/other"}]}, 404, "notFound", "disks/other"),
        (
            {"scheduling": {"provisioningModel": "SPOT", "automaticRestart": True}},
            400,
            "invalid",
            "automaticRestart",
        ),
        ({"scheduling": {"provisioningModel": "FLEX_START"}}, 400, "invalid", "maxRunDuration"),
        ({"scheduling": {**TERMINATE, "maxRunDuration": {"seconds": "60"}}}, 400, "invalid", "TerminationAction"),
        ({"params": {"requestValidForDuration": {"seconds": "600"}}}, 400, "invalid", "requestValidForDuration"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_remains(
    more: Mapping[str, Any], status: int, reason: str, said: str
) -> None:
    with emulated(**PROJECT) as emulator:
        answered, answer = insert(emulator, request=body(**more))
        assert (answered, answer["error"]["errors"][0]["reason"]) == (status, reason)
        assert said in answer["error"]["message"]
        assert (emulator.cloud.instances, emulator.cloud.disks) == ([], [])


def test_a_protected_instance_is_not_deleted() -> None:
    with emulated(**PROJECT) as emulator:
        created(emulator, request=body(deletionProtection=True))
        status, answer = delete(emulator)
        assert (status, answer["error"]["errors"][0]["reason"]) == (400, "invalidResourceUsage")


@pytest.mark.parametrize(
    "permission",
    [
        "compute.instances.create",
        "compute.disks.create",
        "compute.subnetworks.use",
        "compute.subnetworks.useExternalIp",
        "compute.instances.setLabels",
        "compute.instances.setMetadata",
        "compute.instances.setTags",
        "compute.instances.setServiceAccount",
        "iam.serviceAccounts.actAs",
    ],
)
def test_each_permission_that_a_creation_needs_can_be_missing(permission: str) -> None:
    request = body(
        labels={"a": "b"},
        tags={"items": ["c"]},
        metadata={"items": [{"key": "d", "value": "e"}]},
        networkInterfaces=[{"accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}],
        serviceAccounts=[{"email": "me@demo.iam.gserviceaccount.com", "scopes": []}],
    )
    with emulated(**PROJECT) as emulator:
        emulator.forbidden_permissions.add(permission)
        status, answer = insert(emulator, request=request)
        assert (status, answer["error"]["errors"][0]["reason"]) == (403, "forbidden")
        said = "the iam.serviceAccountUser role" if permission.endswith("actAs") else f"Required '{permission}'"
        assert said in answer["error"]["message"]
        assert emulator.cloud.instances == []


@pytest.mark.parametrize(
    "form", ["ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "STOCKOUT", "503"]
)
def test_a_zone_without_capacity_says_so_in_each_form_and_keeps_nothing(form: str) -> None:
    with emulated(Vm("old", zone=ZONE), delays=replace(QUICK, insert_s=0.2)) as emulator:
        emulator.cloud.exhausted[ZONE] = form
        for start in (False, True):
            path = f"projects/demo/zones/{ZONE}/instances"
            request = call(emulator, "POST", f"{path}/old/start") if start else insert(emulator)
            if form == "503":
                assert (request[0], request[1]["error"]["errors"][0]["reason"]) == (503, "ZONE_RESOURCE_POOL_EXHAUSTED")
                continue
            done = finished(emulator, request[1])
            assert (done["error"]["errors"][0]["code"], done["httpErrorStatusCode"]) == (form, 503)
        assert [(each.vm.name, each.status) for each in emulator.cloud.instances] == [("old", "TERMINATED")]
        assert [disk.name for disk in emulator.cloud.disks] == ["old"]
        assert "error" not in created(emulator, "us-central1-b")


@pytest.mark.parametrize("refuses_requests", [False, True], ids=["in the operation", "of the request"])
@pytest.mark.parametrize(
    ("region", "metric", "model", "where"),
    [
        ("us-central1", "NVIDIA_L4_GPUS", "STANDARD", "in region us-central1"),
        ("us-central1", "PREEMPTIBLE_NVIDIA_L4_GPUS", "SPOT", "in region us-central1"),
        ("", "GPUS_ALL_REGIONS", "STANDARD", "globally"),
    ],
)
def test_a_quota_ends_what_would_exceed_it(
    region: str, metric: str, model: str, where: str, *, refuses_requests: bool
) -> None:
    request = body(scheduling=TERMINATE | {"provisioningModel": model, "automaticRestart": False})
    with emulated(**PROJECT) as emulator:
        emulator.cloud.quota_limits[region, metric] = 1.0
        emulator.cloud.quota_refuses_requests = refuses_requests
        assert "error" not in created(emulator, request=request)
        second = request | {"name": "second"}
        said = f"Quota '{metric}' exceeded.  Limit: 1.0 {where}."
        if refuses_requests:
            status, answer = insert(emulator, request=second)
            assert (status, answer["error"]["errors"][0]["reason"]) == (403, "quotaExceeded")
            assert answer["error"]["message"] == said
        else:
            done = created(emulator, request=second)
            assert (done["error"]["errors"][0]["code"], done["httpErrorStatusCode"]) == ("QUOTA_EXCEEDED", 403)
            assert done["error"]["errors"][0]["message"] == said
            assert done["error"]["errors"][0]["errorDetails"][0]["quotaInfo"]["limit"] == 1.0
        assert [each.vm.name for each in emulator.cloud.instances] == ["my-l4"]
        status, answer = insert(emulator, "us-east1-b", body("us-east1-b", scheduling=request["scheduling"]))
        fails = "error" in (answer if status != 200 else finished(emulator, answer))
        assert fails == (region == "")


@pytest.mark.parametrize(("action", "status"), [({}, "TERMINATED"), ({"instanceTerminationAction": "DELETE"}, "")])
def test_a_spot_vm_is_preempted_after_its_creation(action: Mapping[str, str], status: str) -> None:
    with emulated(**PROJECT) as emulator:
        emulator.cloud.preempt_after_s = 0.05
        created(emulator, request=body(scheduling={"provisioningModel": "SPOT", **action}))
        wait_for_status(emulator, status)
        listed = call(emulator, "GET", f"projects/demo/zones/{ZONE}/operations", filter="user=system")[1]["items"]
        assert [operation["operationType"] for operation in listed] == ["compute.instances.preempted"]


def test_an_insert_that_fails_after_the_instance_runs_leaves_it_running() -> None:
    with emulated(**PROJECT) as emulator:
        emulator.cloud.fail_next["insert"] = OperationFault("INTERNAL_ERROR", after_running=True)
        assert created(emulator)["error"]["errors"][0]["code"] == "INTERNAL_ERROR"
        assert show(emulator)[1]["status"] == "RUNNING"


def test_a_deletion_ends_a_creation_that_is_under_way() -> None:
    with emulated(delays=Delays(insert_s=60, delete_s=0.0), **PROJECT) as emulator:
        making = insert(emulator)[1]
        wait_for_status(emulator, "PROVISIONING")
        finished(emulator, delete(emulator)[1])
        assert show(emulator)[0] == 404
        assert finished(emulator, making)["error"]["errors"][0]["code"] == "OPERATION_CANCELED_BY_USER"


@pytest.mark.parametrize(("action", "status"), [("STOP", "TERMINATED"), ("DELETE", "")])
def test_max_run_duration_ends_an_instance(action: str, status: str) -> None:
    limits = {"maxRunDuration": {"seconds": "3600"}, "instanceTerminationAction": action}
    with emulated(delays=replace(QUICK, time_scale=1e-4), **PROJECT) as emulator:
        created(emulator, request=body(scheduling=TERMINATE | limits))
        wait_for_status(emulator, status)


def test_flex_start_waits_for_capacity_and_gives_up_when_the_request_is_no_longer_valid() -> None:
    limits = {"maxRunDuration": {"seconds": "36000"}, "instanceTerminationAction": "STOP"}
    request = body(
        scheduling={"provisioningModel": "FLEX_START", **limits},
        params={"requestValidForDuration": {"seconds": "600"}},
    )
    with emulated(delays=replace(QUICK, time_scale=1e-3), **PROJECT) as emulator:
        emulator.cloud.capacity_after_s[ZONE] = 0.2
        operation = insert(emulator, request=request)[1]
        wait_for_status(emulator, "PENDING")
        assert "error" not in finished(emulator, operation)
        found = show(emulator)[1]
        assert (found["status"], found["scheduling"]["provisioningModel"]) == ("RUNNING", "FLEX_START")
        assert found["resourceStatus"]["scheduling"]["terminationTimestamp"]
        finished(emulator, delete(emulator)[1])
        emulator.cloud.capacity_after_s[ZONE] = float("inf")
        failed = created(emulator, request=request)
        assert failed["error"]["errors"][0]["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
        assert emulator.cloud.instances == []


class Computer:
    """A guest that notes what becomes of it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def boot(self) -> Mapping[str, str]:
        self.seen.append("boot")
        return {"ssh-ed25519": "AAAAC3NzaC1lZDI1NTE5"}

    def halt(self) -> None:
        self.seen.append("halt")

    def freeze(self) -> None:
        self.seen.append("freeze")

    def thaw(self) -> None:
        self.seen.append("thaw")


def test_a_created_instance_gets_a_guest() -> None:
    computer = Computer()

    def equip(vm: Vm) -> Vm:
        return replace(vm, guest=computer, address="127.0.0.1")

    request = body(
        metadata={"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
        networkInterfaces=[{"accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}],
    )
    with emulated(guest_factory=equip, **PROJECT) as emulator:
        created(emulator, request=request)
        instance = emulator.cloud.instances[0]
        with emulator.cloud.changed:
            assert emulator.cloud.changed.wait_for(lambda: instance.guest_attributes, 20)
        assert instance.nat_ip == "127.0.0.1"
        finished(emulator, delete(emulator)[1])
    assert computer.seen == ["boot", "halt"]


def test_googles_own_client_creates_and_deletes() -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import compute_v1

    with emulated(**PROJECT) as emulator:
        nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth annotates only a part
        options: Any = {"client_options": {"api_endpoint": emulator.root}, "credentials": nobody}
        image = compute_v1.ImagesClient(**options).get_from_family(
            project="deeplearning-platform-release", family=FAMILY.rpartition("/")[2]
        )
        assert image.disk_size_gb == 50
        machine_type = compute_v1.MachineTypesClient(**options).get(
            project="demo", zone=ZONE, machine_type="g2-standard-8"
        )
        assert (machine_type.guest_cpus, machine_type.accelerators[0].guest_accelerator_type) == (8, "nvidia-l4")
        gpus = compute_v1.AcceleratorTypesClient(**options).list(project="demo", zone=ZONE)
        assert "nvidia-l4" in [gpu.name for gpu in gpus]
        instances, operations = compute_v1.InstancesClient(**options), compute_v1.ZoneOperationsClient(**options)
        where: Any = {"project": "demo", "zone": ZONE}
        resource = compute_v1.Instance.from_json(json.dumps(body()), ignore_unknown_fields=False)
        operation = instances.insert_unary(instance_resource=resource, **where)
        assert not operations.wait(operation=operation.name, **where).error.errors
        assert instances.get(instance="my-l4", **where).status == "RUNNING"
        operation = instances.delete_unary(instance="my-l4", **where)
        operations.wait(operation=operation.name, **where)
        with suppress(StopIteration):
            raise AssertionError(next(iter(instances.list(**where))))
