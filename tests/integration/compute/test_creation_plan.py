"""What a creation plans with Google's real client, against the emulator: image, machine, and the order of the zones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from remote_runtime.compute import handlers
from remote_runtime.compute.client.api import open_api
from remote_runtime.core.creation import BootDisk, CreateSettings, CreationPlan, GpuRequest, ImageSource
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError
from remote_runtime.core.profile import GceTarget
from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.environment import google_discovery
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator

PYTORCH = ImageSource("pytorch-2-9-cu129-ubuntu-2404-nvidia-580", project="deeplearning-platform-release")
L4 = CreateSettings("g2-standard-8", PYTORCH)
QUICK = Delays(queue_s=0.0, insert_s=0.0)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Google's client is imported, which takes seconds of no test's deadline."""
    open_api({"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}, progress=lambda _: None, deadline=Deadline(1))


@pytest.fixture
def emulator() -> Iterator[FaultyEmulator]:
    with FaultyEmulator([], project_metadata={"demo": {}}, delays=QUICK) as emulator:
        yield emulator
        assert [found for each in emulator.exchanges for found in google_discovery.complaints(each)] == []


def plan(
    emulator: FaultyEmulator, settings: CreateSettings = L4, *, first_zone: str = "", **place: Any
) -> CreationPlan:
    target = replace(GceTarget("my-l4", project="demo", create=settings), **place)
    return handlers.plan_creation(
        target,
        "c1",
        first_zone=first_zone,
        progress=lambda text: None,
        deadline=Deadline(15),
        environ=emulator_environ(emulator.endpoint),
    )


def names(made: CreationPlan) -> list[str]:
    return [zone.name for zone in made.zones]


def test_the_image_the_machine_and_the_disk_are_known_before_anything_is_made(emulator: FaultyEmulator) -> None:
    made = plan(emulator, zone="us-central1-a")
    assert made.image.endswith("/global/images/pytorch-2-9-cu129-v20260110-ubuntu-2404-nvidia-580")
    assert made.machine == "g2-standard-8 (8 vCPUs, 32 GB, 1 nvidia-l4)"
    assert (made.disk_gb, made.has_gpu, made.project, names(made)) == (50, True, "demo", ["us-central1-a"])
    assert not [each for each in emulator.exchanges if each.http_method != "GET"], "nothing is changed"


def test_zones_are_tried_in_the_profiles_order_and_skipped_without_the_machine_type(emulator: FaultyEmulator) -> None:
    emulator.cloud.obtainability["us-central1-a"] = 1.0
    made = plan(emulator, zones=("us-east1-b", "us-central1-f", "us-central1-a"))
    assert names(made) == ["us-east1-b", "us-central1-a", "us-central1-f"]
    assert made.zones[2].skip == "no g2-standard-8 there"
    with_gpu = CreateSettings("n1-standard-8", PYTORCH, GpuRequest("nvidia-tesla-t4"))
    made = plan(emulator, with_gpu, zones=("us-central1-c", "us-central1-b"))
    assert (names(made), made.has_gpu) == (["us-central1-b", "us-central1-c"], True)
    assert made.zones[1].skip == "no n1-standard-8 with nvidia-tesla-t4 there"


def test_the_zones_of_a_region_are_tried_by_compute_engines_advice(emulator: FaultyEmulator) -> None:
    emulator.cloud.obtainability |= {"us-central1-c": 0.9, "europe-west4-b": 0.95}
    made = plan(emulator, regions=("us-central1", "europe-west4"))
    assert names(made) == [
        "us-central1-c", "us-central1-a", "us-central1-b", "europe-west4-b", "europe-west4-a", "us-central1-f",
    ]  # fmt: skip
    assert made.zones[0].why == "obtainability 90%"


def test_advice_that_is_refused_leaves_the_order_of_the_names(emulator: FaultyEmulator) -> None:
    emulator.cloud.obtainability["us-central1-c"] = 0.9
    emulator.cloud.forbidden_permissions.add("compute.advice.capacity")
    assert names(plan(emulator, regions=("us-central1",)))[:3] == ["us-central1-a", "us-central1-b", "us-central1-c"]


def test_a_zone_that_an_earlier_up_had_asked_is_tried_first(emulator: FaultyEmulator) -> None:
    zones = ("us-central1-a", "us-central1-b")
    assert names(plan(emulator, zones=zones, first_zone="us-central1-b")) == ["us-central1-b", "us-central1-a"]


@pytest.mark.parametrize(
    ("settings", "place", "words"),
    [
        (replace(L4, image=ImageSource("no-such-family")), {}, "No image family no-such-family in project demo"),
        (replace(L4, image=ImageSource(name="none")), {}, "No image none in project demo"),
        (replace(L4, machine_type="g2-standard-9"), {}, "offers no machine type g2-standard-9"),
        (replace(L4, boot_disk=BootDisk(20)), {}, "The boot disk of my-l4 is too small: 20 GB"),
        (L4, {"zone": "us-central1-f"}, "None of the profile's zones has g2-standard-8"),
        (L4, {"zone": None, "regions": ("us-central9",)}, "Compute Engine has no region us-central9"),
    ],
)  # fmt: skip
def test_what_cannot_be_created_is_told_before_anything_is_made(
    emulator: FaultyEmulator, settings: CreateSettings, place: dict[str, Any], words: str
) -> None:
    with pytest.raises(CloudError) as caught:
        plan(emulator, settings, **{"zone": "us-central1-a", **place})
    assert caught.value.code == "instance-not-created"
    assert words in caught.value.what


@pytest.mark.parametrize("permission", ["compute.machineTypes.list", "compute.images.getFromFamily",
                                        "compute.regions.get", "compute.instances.list"])  # fmt: skip
def test_a_permission_that_the_plan_lacks_is_named_unless_it_can_do_without(
    emulator: FaultyEmulator, permission: str
) -> None:
    emulator.cloud.forbidden_permissions.add(permission)
    if permission == "compute.machineTypes.list":
        assert "us-central1-f" in names(plan(emulator, zones=("us-central1-f", "us-central1-a")))
        return
    with pytest.raises(CloudError) as caught:
        plan(emulator, regions=("us-central1",))
    assert caught.value.code == "permission-denied"
    assert permission in caught.value.what


def test_no_second_vm_is_planned_beside_one_that_is_elsewhere() -> None:
    """One that `up` created is used wherever it is; so it is no obstacle."""
    vm = Vm("my-l4", zone="us-east1-b")
    for labels in ({}, {"remote-runtime-created-by": "other"}):
        with FaultyEmulator([replace(vm, labels=labels)], delays=QUICK) as emulator:
            if labels:
                assert names(plan(emulator, zone="us-central1-a")) == ["us-central1-a"]
                continue
            with pytest.raises(CloudError) as caught:
                plan(emulator, zone="us-central1-a")
            assert "my-l4 exists in us-east1-b (TERMINATED)" in caught.value.what
            assert "target.zone: us-east1-b" in caught.value.hint
    with FaultyEmulator([], project_metadata={"demo": {}}, delays=QUICK) as emulator:
        emulator.cloud.unreachable_zones.add("us-east1-b")
        with pytest.raises(CloudError) as caught:
            plan(emulator, zone="us-central1-a")
        assert caught.value.code == "cloud-unreachable"
