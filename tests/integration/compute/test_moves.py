"""Moving an instance to another zone with Google's real client, against the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from remote_runtime.compute import handlers
from remote_runtime.compute.client.api import open_api
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError
from remote_runtime.core.profile import GceTarget
from remote_runtime.demo.gcp_api.instance import EmulatedInstance
from remote_runtime.demo.gcp_api.networks import address
from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.environment import google_discovery
from tests.support.environment.moving import TARGET, Move, existing
from tests.support.faults.faulty_emulator import FaultyEmulator, OperationFault

QUICK = Delays(queue_s=0.01, insert_s=0.02, delete_s=0.02, disk_s=0.02, start_s=0.02, boot_s=0.0)
FULL = "ZONE_RESOURCE_POOL_EXHAUSTED"
GPU_VM = Vm(
    "my-vm",
    labels={"team": "vision"},
    metadata={"startup-script": "#!/bin/sh"},
    machine_type="n1-standard-8",
    accelerator="nvidia-tesla-t4",
    service_account="ml@demo.iam.gserviceaccount.com",
    data_disks=("data",),
    content="my-files",
)
NEW_ZONE = "us-central1-b"


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Google's client is imported, which takes seconds of no test's deadline."""
    open_api({"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}, progress=lambda _: None, deadline=Deadline(1))


@pytest.fixture
def emulator() -> Iterator[FaultyEmulator]:
    with FaultyEmulator([GPU_VM], project_metadata={"demo": {}}, delays=QUICK) as emulator:
        emulator.cloud.exhausted = {"us-central1-a": FULL}
        old = emulator.cloud.instances[0]
        old.parts["tags"]["items"] = ["jupyter"]
        old.parts["scheduling"] |= {"onHostMaintenance": "TERMINATE"}
        old.parts["disks"][1] |= {"deviceName": "my-data", "autoDelete": False, "diskSizeGb": "500"}
        emulator.cloud.disks[1].size_gb, emulator.cloud.disks[1].type = 500, "pd-ssd"
        yield emulator


def instance_in(emulator: FaultyEmulator, zone: str) -> EmulatedInstance:
    (found,) = [each for each in emulator.cloud.instances if each.vm.zone == zone]
    return found


def parts_without_zone(instance: EmulatedInstance) -> Any:
    """What a move keeps."""
    shown = instance.as_json()
    text = repr({key: shown.get(key) for key in ("machineType", "guestAccelerators", "scheduling", "serviceAccounts",
                                                 "networkInterfaces", "disks")})  # fmt: skip
    text = text.replace(instance.vm.zone, "ZONE").replace(instance.nat_ip or "no address", "no address")
    return text.replace(shown["networkInterfaces"][0]["networkIP"], "IP").replace(", 'natIP': 'no address'", "")


def test_a_move_keeps_the_machine_its_disks_and_its_settings_and_leaves_the_old_one(emulator: FaultyEmulator) -> None:
    before = existing(emulator)
    move = Move(emulator)
    result = move.run()
    old, new = instance_in(emulator, "us-central1-a"), instance_in(emulator, NEW_ZONE)
    assert (result.instance.id, result.instance.zone, result.instance.status) == (new.id, NEW_ZONE, "RUNNING")
    assert parts_without_zone(new) == parts_without_zone(old)
    own = {"remote-runtime-created-by": "c1"}
    assert new.vm.labels == {"team": "vision", **own, "remote-runtime-moved-from": f"us-central1-a_{old.id}"}
    assert new.metadata == {"startup-script": "#!/bin/sh", "enable-guest-attributes": "TRUE"}
    assert new.parts["tags"]["items"] == ["jupyter"]
    made = {disk.name: disk for disk in emulator.cloud.disks if disk.zone == NEW_ZONE}
    assert [(each.size_gb, each.type, each.labels) for each in made.values()] == [
        (100, "pd-standard", own), (500, "pd-ssd", own),
    ]  # fmt: skip
    assert made["my-vm"].content == "my-files"
    assert old.status == "TERMINATED"
    assert emulator.cloud.snapshots == []
    added = existing(emulator) - before
    assert {(each.kind, each.name, each.zone) for each in move.resources} == added
    assert [found for each in emulator.exchanges for found in google_discovery.complaints(each)] == []


def test_the_moved_instance_is_the_one_that_is_meant_while_the_old_one_does_not_run(emulator: FaultyEmulator) -> None:
    move = Move(emulator)
    new_id = move.run().instance.id
    old = instance_in(emulator, "us-central1-a")
    targets = (
        TARGET,
        GceTarget(project="demo", instance="my-vm"),
        GceTarget(project="demo", zones=("us-central1-a", NEW_ZONE), instance="my-vm"),
        GceTarget(project="demo", labels={"team": "vision"}),
    )
    assert {Move(emulator, target).find().id for target in targets} == {new_id}
    emulator.cloud.set_status("my-vm", "RUNNING")  # the old one, by somebody else
    old.assign_address()
    assert Move(emulator).find().id == old.id
    emulator.cloud.set_status("my-vm", "TERMINATED")
    with emulator.cloud.changed:
        emulator.cloud.instances.remove(old)
    assert Move(emulator).find().id == new_id
    with pytest.raises(CloudError) as caught:
        Move(emulator, replace(TARGET, zone="us-central1-c")).find()
    assert caught.value.code == "instance-not-found"
    # Back again: the zone of the first one, where its disks still are, is left out.
    instance_in(emulator, NEW_ZONE).status = "TERMINATED"
    again = Move(emulator, replace(TARGET, zone=None, zones=("us-central1-a", "europe-west4-b"))).plan()
    assert [(zone.name, zone.skip) for zone in again.creation.zones] == [
        ("us-central1-a", "another disk data exists there"), ("europe-west4-b", ""),
    ]  # fmt: skip
    assert again.origin == "us-central1-a"


@pytest.mark.parametrize("form", [FULL, "503"])
def test_each_zone_without_capacity_is_left_empty(emulator: FaultyEmulator, form: str) -> None:
    emulator.cloud.exhausted |= {NEW_ZONE: form}
    move = Move(emulator, replace(TARGET, zone=None, zones=("us-central1-a", NEW_ZONE, "europe-west4-b")))
    plan = move.plan()
    assert [zone.name for zone in plan.creation.zones] == [NEW_ZONE, "europe-west4-b"]
    result = move.run(plan)
    assert result.instance.zone == "europe-west4-b"
    assert [(each.zone, each.result) for each in result.attempts] == [
        (NEW_ZONE, "no-capacity"), ("europe-west4-b", "created"),
    ]  # fmt: skip
    assert {zone for _, _, zone in existing(emulator)} == {"us-central1-a", "europe-west4-b"}
    interface = instance_in(emulator, "europe-west4-b").as_json()["networkInterfaces"][0]
    assert interface["subnetwork"].endswith("/regions/europe-west4/subnetworks/default")
    move.delete()  # the disks are named before the instance that uses them
    assert {zone for _, _, zone in existing(emulator)} == {"us-central1-a"}


@pytest.mark.parametrize("zones", [(), (NEW_ZONE,)])
def test_a_move_without_any_capacity_leaves_nothing_once_it_is_undone(
    emulator: FaultyEmulator, zones: tuple[str, ...]
) -> None:
    before = existing(emulator)
    emulator.cloud.exhausted = dict.fromkeys(("us-central1-a", NEW_ZONE, "us-central1-c", "us-central1-f"), FULL)
    move = Move(emulator, replace(TARGET, zone=None, zones=zones) if zones else TARGET)
    with pytest.raises(CloudError) as caught:
        move.run()
    assert caught.value.code == "no-capacity"
    assert f"{NEW_ZONE}  no capacity" in caught.value.why
    assert {each.kind for each in move.resources} >= {"snapshot"}
    move.delete()
    assert existing(emulator) == before


def test_a_quota_of_the_region_leads_to_other_regions(emulator: FaultyEmulator) -> None:
    words = "Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 1.0 in region us-central1."
    move = Move(emulator, replace(TARGET, zone=None, zones=("us-central1-a", NEW_ZONE, "europe-west4-b")))
    plan = move.plan(quota=words)
    assert [(zone.name, bool(zone.skip)) for zone in plan.creation.zones] == [
        (NEW_ZONE, True), ("europe-west4-b", False),
    ]  # fmt: skip
    with pytest.raises(CloudError) as caught:
        move.plan(quota="Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 1.0 globally.")
    assert caught.value.code == "quota-exceeded"
    assert caught.value.why.count("GPUS_ALL_REGIONS") == 2


def test_what_would_lose_data_is_refused_before_anything_is_made(emulator: FaultyEmulator) -> None:
    old, cloud = instance_in(emulator, "us-central1-a"), emulator.cloud
    ssd = {"kind": "compute#attachedDisk", "type": "SCRATCH", "deviceName": "local-ssd-0", "index": 2, "boot": False}

    def refusal(**options: Any) -> str:
        with pytest.raises(CloudError) as caught:
            Move(emulator).plan(**options)
        assert caught.value.code == "instance-not-movable"
        return caught.value.why

    old.parts["disks"].append({**ssd, "savedState": "PRESERVED"})
    assert refusal() == "its Local SSD local-ssd-0 has data, which would be lost"
    old.parts["disks"][2] = ssd
    assert "Its Local SSDs are empty, as after each stop" in Move(emulator).plan().changes
    cloud.add(Vm("other"))
    cloud.instances[1].parts["disks"].append({**old.parts["disks"][1], "mode": "READ_ONLY"})
    assert refusal() == "its disk data is attached to other too"
    del cloud.instances[1]
    old.parts["deletionProtection"] = True
    assert "deletion protection" in refusal(delete_old=True)
    assert "The new VM has no deletion protection" in Move(emulator).plan().changes
    old.parts["deletionProtection"] = False
    old.status = "SUSPENDED"
    assert "what is in its memory" in refusal()
    old.status = "RUNNING"
    assert refusal() == "its status is RUNNING"
    old.status = "TERMINATED"
    old.parts["disks"][1]["source"] = (
        "https://www.googleapis.com/compute/v1/projects/demo/regions/us-central1/disks/data"
    )
    assert refusal() == "its disk data is not a disk of its zone"
    asked = {each.http_method for each in emulator.exchanges if not each.path.endswith("/advice/capacity")}
    assert asked == {"GET"}


def test_what_is_lost_is_said(emulator: FaultyEmulator) -> None:
    cloud, path = emulator.cloud, "projects/demo/zones/us-central1-a/instances/my-vm"
    cloud.networks["demo"]["addresses"].append(address("demo", "us-central1", "my-ip", "203.0.113.77", path))
    cloud.networks["demo"]["subnetworks"] = [
        each for each in cloud.networks["demo"]["subnetworks"] if "us-east1" not in each["region"]
    ]
    for each in cloud.networks["demo"]["subnetworks"]:
        if "europe-west4" in each["region"]:
            each |= {"name": "eu", "selfLink": each["selfLink"].replace("subnetworks/default", "subnetworks/eu")}
    target = replace(TARGET, zone=None, zones=("europe-west4-b", "us-east1-b"))
    instance_in(emulator, "us-central1-a").vm = replace(GPU_VM, machine_type="e2-standard-4", accelerator="")
    instance_in(emulator, "us-central1-a").parts.pop("guestAccelerators")
    plan = Move(emulator, target).plan()
    assert plan.changes == (
        "The reserved external address 203.0.113.77 stays with the old VM; the new one gets another",
        "In europe-west4 its subnet is eu instead of default, with another internal address",
        "Its metadata gets `enable-guest-attributes=TRUE`, by which its host keys are verified",
    )
    assert [(zone.name, zone.skip) for zone in plan.creation.zones] == [
        ("europe-west4-b", ""), ("us-east1-b", "network default has no subnet in us-east1"),
    ]  # fmt: skip
    cloud.forbidden_permissions.add("compute.addresses.list")
    assert len(Move(emulator, target).plan().changes) == 2


def test_the_old_instance_is_deleted_only_when_the_new_one_runs(emulator: FaultyEmulator) -> None:
    move = Move(emulator)
    plan = move.plan(delete_old=True)
    with pytest.raises(CloudError) as caught:
        handlers.delete_old(plan, **move.given())
    assert caught.value.why == "the new VM does not run, so the old one is not deleted"
    move.run(plan)
    instance_in(emulator, "us-central1-a").status = "RUNNING"  # somebody uses it
    with pytest.raises(CloudError):
        handlers.delete_old(plan, **move.given())
    instance_in(emulator, "us-central1-a").status = "TERMINATED"
    assert handlers.delete_old(plan, **move.given()) == ("data",)
    assert existing(emulator) == {
        ("instance", "my-vm", NEW_ZONE), ("disk", "my-vm", NEW_ZONE), ("disk", "data", NEW_ZONE),
        ("disk", "data", "us-central1-a"),
    }  # fmt: skip


def test_a_second_client_uses_what_the_first_one_moved(emulator: FaultyEmulator) -> None:
    """Both have planned before; the second one's snapshots go too."""
    first, second = Move(emulator), Move(emulator, client_id="c2")
    plans = first.plan(), second.plan()
    made = first.run(plans[0]).instance
    result = second.run(plans[1])
    assert (result.instance.id, result.resource) == (made.id, None)
    assert [each.vm.zone for each in emulator.cloud.instances] == ["us-central1-a", NEW_ZONE]
    assert emulator.cloud.snapshots == []


def test_a_snapshot_that_fails_ends_the_move_before_an_instance_is_made(emulator: FaultyEmulator) -> None:
    before = existing(emulator)
    emulator.cloud.fail_next["disks.createSnapshot"] = OperationFault("INTERNAL_ERROR")
    move = Move(emulator)
    with pytest.raises(CloudError):
        move.run()
    assert {each.kind for each in move.resources} == {"snapshot"}
    move.delete()
    assert existing(emulator) == before


@pytest.mark.parametrize("owner", ["c1", "other"])
def test_disks_and_snapshots_are_deleted_by_their_label_alone(emulator: FaultyEmulator, owner: str) -> None:
    emulator.cloud.exhausted = dict.fromkeys(("us-central1-a", NEW_ZONE), FULL)
    move = Move(emulator)
    with pytest.raises(CloudError):
        move.run()
    snapshots = [each for each in move.resources if each.kind == "snapshot"]
    ends = handlers.delete_resources(snapshots, owner, **move.given())
    assert set(ends) == {"deleted" if owner == "c1" else "foreign"}
    assert len(emulator.cloud.snapshots) == (0 if owner == "c1" else 2)
    assert set(handlers.delete_resources(snapshots, "c1", **move.given())) == {"gone" if owner == "c1" else "deleted"}
