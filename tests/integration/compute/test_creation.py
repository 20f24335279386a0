"""Creating instances with Google's real client, against the emulator: a fault ends with one instance or with none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from remote_runtime.compute import handlers
from remote_runtime.compute.client.api import open_api
from remote_runtime.compute.worker_protocol import ReadyOptions
from remote_runtime.core.creation import GpuRequest
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, DeadlinePassed
from remote_runtime.core.profile import GceTarget
from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.environment import google_discovery
from tests.support.environment.creation import L4, ZONES, Creation, plan_of
from tests.support.faults.faulty_emulator import FaultyEmulator, OperationFault

QUICK = Delays(queue_s=0.01, insert_s=0.02, delete_s=0.02, boot_s=0.0, time_scale=0.001)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Google's client is imported, which takes seconds of no test's deadline."""
    open_api({"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}, progress=lambda _: None, deadline=Deadline(1))


@pytest.fixture
def emulator() -> Iterator[FaultyEmulator]:
    with FaultyEmulator([], project_metadata={"demo": {}}, delays=QUICK) as emulator:
        yield emulator


def inserts(emulator: FaultyEmulator) -> list[str]:
    """The zones that were asked, in order."""
    asked = [each for each in emulator.exchanges if each.method_id == "compute.instances.insert"]
    return [each.path.split("/")[3] for each in asked]


def places(emulator: FaultyEmulator) -> list[str]:
    return [each.vm.zone for each in emulator.cloud.instances]


def test_what_is_created_has_the_label_guest_attributes_and_no_external_address(emulator: FaultyEmulator) -> None:
    creation = Creation(emulator)
    result = creation.run(plan_of())
    (made,) = emulator.cloud.instances
    assert (result.instance.status, result.instance.via, result.instance.created_by) == ("RUNNING", "iap", "c1")
    assert (result.instance.id, result.instance.zone) == (made.id, "us-central1-a")
    assert result.resource is not None
    assert creation.intents == [result.resource]
    assert made.vm.labels == {"remote-runtime-created-by": "c1"}
    assert made.metadata["enable-guest-attributes"] == "TRUE"
    assert [disk.labels for disk in emulator.cloud.disks] == [{"remote-runtime-created-by": "c1"}]
    (asked,) = [each for each in emulator.exchanges if each.method_id == "compute.instances.insert"]
    assert asked.query["requestId"]
    assert asked.body is not None
    assert asked.body["scheduling"] == {"onHostMaintenance": "TERMINATE", "provisioningModel": "STANDARD"}
    assert [found for each in emulator.exchanges for found in google_discovery.complaints(each)] == []


@pytest.mark.parametrize("form", ["ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
                                  "STOCKOUT", "503"])  # fmt: skip
@pytest.mark.parametrize("count", [1, 5])
def test_a_zone_without_capacity_costs_no_second_attempt_there(emulator: FaultyEmulator, form: str, count: int) -> None:
    emulator.cloud.exhausted = dict.fromkeys(ZONES[:count], form)
    creation = Creation(emulator)
    result = creation.run(plan_of(*ZONES))
    assert inserts(emulator) == list(ZONES[: count + 1])
    assert places(emulator) == [ZONES[count]]
    assert [(each.zone, each.result) for each in result.attempts] == [
        *((zone, "no-capacity") for zone in ZONES[:count]), (ZONES[count], "created"),
    ]  # fmt: skip
    assert creation.zones == list(result.attempts[:count])
    assert len(emulator.cloud.disks) == 1


def test_no_zone_with_capacity_is_one_error_with_a_line_for_each(emulator: FaultyEmulator) -> None:
    emulator.cloud.exhausted = dict.fromkeys(ZONES, "ZONE_RESOURCE_POOL_EXHAUSTED")
    with pytest.raises(CloudError) as caught:
        Creation(emulator).run(plan_of(*ZONES[:3]))
    assert caught.value.code == "no-capacity"
    assert caught.value.what == "No capacity for my-l4 (g2-standard-8) in 3 zones"
    lines = [f"{zone}  no capacity: ZONE_RESOURCE_POOL_EXHAUSTED" for zone in ZONES[:3]]
    assert caught.value.why.splitlines() == lines
    assert (places(emulator), emulator.cloud.disks) == ([], [])


@pytest.mark.parametrize("as_request", [False, True])
def test_a_quota_of_the_region_skips_its_zones_and_a_global_one_ends_it(
    emulator: FaultyEmulator, as_request: bool
) -> None:
    """Quota is not capacity: another zone of the region would only say the same."""
    emulator.cloud.quota_refuses_requests = as_request
    emulator.cloud.quota_limits["us-central1", "NVIDIA_L4_GPUS"] = 0.0
    result = Creation(emulator).run(plan_of(*ZONES[:4]))
    assert inserts(emulator) == ["us-central1-a", "europe-west4-a"]
    assert [each.result for each in result.attempts] == ["quota", "not-tried", "not-tried", "created"]
    Creation(emulator).delete(*filter(None, [result.resource]))
    emulator.exchanges.clear()

    emulator.cloud.quota_limits["", "GPUS_ALL_REGIONS"] = 0.0
    with pytest.raises(CloudError) as caught:
        Creation(emulator).run(plan_of(ZONES[3], *ZONES[:3]))
    assert caught.value.code == "quota-exceeded"
    assert inserts(emulator) == ["europe-west4-a"]
    assert "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally" in caught.value.why.replace(" Limit", "  Limit")
    assert "https://console.cloud.google.com/iam-admin/quotas?project=demo" in caught.value.hint
    assert places(emulator) == []


def test_a_zone_without_the_machine_type_is_skipped(emulator: FaultyEmulator) -> None:
    result = Creation(emulator).run(plan_of("us-central1-f", "us-central1-z", "us-central1-b"))
    assert [each.result for each in result.attempts] == ["no-machine-type", "no-machine-type", "created"]
    gpu = replace(L4, machine_type="n1-standard-8", gpu=GpuRequest("nvidia-tesla-t4"))
    Creation(emulator).delete(*filter(None, [result.resource]))
    result = Creation(emulator).run(replace(plan_of("us-central1-c", "us-central1-b", settings=gpu), has_gpu=True))
    assert [each.result for each in result.attempts] == ["no-machine-type", "created"]


@pytest.mark.parametrize(
    "permission",
    ["compute.instances.create", "compute.disks.create", "compute.subnetworks.use", "compute.instances.setLabels",
     "compute.instances.setMetadata", "compute.instances.list", "compute.instances.get"],
)  # fmt: skip
def test_a_missing_permission_ends_it_and_is_named(emulator: FaultyEmulator, permission: str) -> None:
    emulator.cloud.forbidden_permissions.add(permission)
    creation = Creation(emulator)
    with pytest.raises(CloudError) as caught:
        creation.run(plan_of(*ZONES))
    assert caught.value.code == "permission-denied"
    assert permission in caught.value.what
    assert len(inserts(emulator)) <= 1
    emulator.cloud.forbidden_permissions.clear()
    creation.delete()
    assert (places(emulator), emulator.cloud.disks) == ([], [])


def test_what_cannot_be_deleted_ends_the_creation_so_that_there_are_never_two(emulator: FaultyEmulator) -> None:
    emulator.cloud.fail_next["insert"] = OperationFault("INTERNAL_ERROR", after_running=True)
    emulator.cloud.forbidden_permissions.add("compute.instances.delete")
    creation = Creation(emulator)
    with pytest.raises(CloudError) as caught:
        creation.run(plan_of(*ZONES))
    assert (caught.value.code, creation.zones[0].remains) == ("instance-not-created", True)
    assert caught.value.why.endswith("; it could not be deleted")
    assert places(emulator) == [ZONES[0]]
    with pytest.raises(CloudError) as caught:
        creation.delete()
    assert caught.value.code == "permission-denied"
    assert "compute.instances.delete" in caught.value.what


def test_an_insert_that_fails_after_the_instance_ran_leaves_none(emulator: FaultyEmulator) -> None:
    emulator.cloud.fail_next["insert"] = OperationFault("INTERNAL_ERROR", after_running=True)
    result = Creation(emulator).run(plan_of(*ZONES[:2]))
    assert [(each.result, each.remains) for each in result.attempts] == [("failed", False), ("created", False)]
    assert places(emulator) == ["us-central1-b"]


def test_what_another_zone_would_refuse_too_is_told_at_once(emulator: FaultyEmulator) -> None:
    plan = replace(plan_of(*ZONES), disk_gb=1)
    with pytest.raises(CloudError) as caught:
        Creation(emulator).run(plan)
    assert caught.value.code == "instance-not-created"
    assert "cannot be smaller than the image size" in caught.value.why
    assert len(inserts(emulator)) == 1


def test_a_slow_insert_is_reported_and_its_limit_is_kept() -> None:
    with FaultyEmulator([], project_metadata={"demo": {}}, delays=replace(QUICK, insert_s=30.0)) as emulator:
        creation = Creation(emulator, within_s=1.5)
        with pytest.raises(DeadlinePassed) as caught:
            creation.run(plan_of())
        assert "create my-l4" in caught.value.what
        assert creation.delete() == ("deleted",)
        assert places(emulator) == []


@pytest.mark.parametrize("deletes", ["c1", "other"])
def test_only_what_has_the_label_of_this_client_is_deleted(emulator: FaultyEmulator, deletes: str) -> None:
    creation = Creation(emulator)
    creation.run(plan_of())
    expected = ("deleted", []) if deletes == "c1" else ("foreign", ["us-central1-a"])
    assert (creation.delete(client_id=deletes)[0], places(emulator)) == expected
    assert creation.delete(client_id="c1")[0] == ("gone" if deletes == "c1" else "deleted")


def test_an_instance_that_an_earlier_client_left_half_made_is_adopted() -> None:
    """Its keeper was killed right after the request."""
    with FaultyEmulator([], project_metadata={"demo": {}}, delays=replace(QUICK, insert_s=0.5)) as emulator:
        first = Creation(emulator)
        thread = threading.Thread(target=first.run, args=[plan_of()])
        thread.start()
        with emulator.cloud.changed:
            assert emulator.cloud.changed.wait_for(lambda: emulator.cloud.instances, 10)
        second = Creation(emulator)
        second.intents = first.intents
        result = second.run(plan_of("us-central1-b"))
        thread.join()
        assert inserts(emulator) == ["us-central1-a"]
        assert result.resource is not None
        assert (result.resource.zone, result.instance.created_by) == ("us-central1-a", "c1")


def test_two_clients_with_one_name_end_with_one_instance(emulator: FaultyEmulator) -> None:
    """In the same zone the second is refused; in two zones the younger one is deleted by its maker."""
    for zones in (("us-central1-a", "us-central1-a"), ("us-central1-a", "us-central1-b")):
        clients = [Creation(emulator), Creation(emulator)]
        results: dict[int, object] = {}
        barrier = threading.Barrier(2)

        def run(number: int, zone: str, clients: list[Creation] = clients, results: dict[int, object] = results,
                barrier: threading.Barrier = barrier) -> None:  # fmt: skip
            barrier.wait()
            results[number] = clients[number].run(plan_of(zone, client_id=f"laptop-{number}"))

        threads = [threading.Thread(target=run, args=item) for item in enumerate(zones)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (made,) = emulator.cloud.instances
        assert {getattr(each, "instance").id for each in results.values()} == {made.id}  # noqa: B009  # of an object
        owners = [getattr(each, "resource") is not None for each in results.values()]  # noqa: B009  # of an object
        assert sorted(owners) == [False, True]
        owner = made.vm.labels["remote-runtime-created-by"]
        for client in clients:
            client.delete(client_id=owner)
        assert emulator.cloud.instances == []


def test_another_clients_creation_that_fails_meanwhile_is_no_reason_to_fail() -> None:
    """This client waits for it, and creates its own when it has vanished."""
    with FaultyEmulator([], project_metadata={"demo": {}}, delays=replace(QUICK, insert_s=1.0)) as emulator:
        emulator.cloud.exhausted = {"us-central1-a": "STOCKOUT"}
        other = Creation(emulator)
        thread = threading.Thread(target=_ignoring_failure, args=[other])
        thread.start()
        with emulator.cloud.changed:
            assert emulator.cloud.changed.wait_for(lambda: emulator.cloud.instances, 10)
        result = Creation(emulator).run(plan_of("us-central1-b", client_id="c2"))
        thread.join()
        assert [(each.zone, each.result) for each in result.attempts] == [("us-central1-b", "created")]
        assert places(emulator) == ["us-central1-b"]


def _ignoring_failure(creation: Creation) -> None:
    with pytest.raises(CloudError):
        creation.run(plan_of("us-central1-a", client_id="other"))


def test_an_instance_that_exists_is_used_whoever_made_it() -> None:
    vm = Vm("my-l4", zone="us-central1-b", status="RUNNING", external=False)
    with FaultyEmulator([vm], delays=QUICK) as emulator:
        creation = Creation(emulator)
        result = creation.run(plan_of("us-central1-a", "us-central1-b"))
        assert (result.resource, creation.intents, inserts(emulator)) == (None, [], [])
        assert result.instance.zone == "us-central1-b"


def test_a_spot_vm_that_is_preempted_while_it_starts_is_created_in_the_next_zone(emulator: FaultyEmulator) -> None:
    spot = replace(L4, provisioning="spot", max_run_s=7200.0)
    creation = Creation(emulator)
    once = iter([True])

    def preempt(text: str) -> None:
        if text.startswith("Waiting for my-l4 to publish") and next(once, False):
            emulator.cloud.preempt("my-l4")
        creation.told.append(text)

    emulator.cloud.delays = QUICK
    result = handlers_create(creation, plan_of(*ZONES[:2], settings=spot), preempt)
    assert [each.result for each in result.attempts] == ["preempted", "created"]  # type: ignore[attr-defined]  # a CreationResult
    assert places(emulator) == ["us-central1-b"]
    (made,) = emulator.cloud.instances
    scheduling = made.parts["scheduling"]
    assert (scheduling["provisioningModel"], scheduling["instanceTerminationAction"]) == ("SPOT", "STOP")
    assert int(scheduling["maxRunDuration"]["seconds"]) == 7200


def handlers_create(creation: Creation, plan: object, progress: object) -> object:
    return handlers.create(
        plan,  # type: ignore[arg-type]  # a CreationPlan
        before_insert=creation.intents.append,
        after_zone=creation.zones.append,
        options=ReadyOptions(host_keys_within_s=1.0),
        **{**creation.given(), "progress": progress},
    )


@pytest.mark.parametrize(("after_s", "result"), [(0.3, "created"), (1e6, "no-capacity")])
def test_flex_start_waits_for_capacity_and_no_longer_than_it_may(
    emulator: FaultyEmulator, after_s: float, result: str
) -> None:
    """A thousandth of a second is a second of Compute Engine's here."""
    flex = replace(L4, provisioning="flex-start", wait_s=1800.0, max_run_s=43200.0)
    emulator.cloud.capacity_after_s = dict.fromkeys(ZONES, after_s)
    creation = Creation(emulator)
    if result == "created":
        (attempt,) = creation.run(plan_of(*ZONES[:2], settings=flex)).attempts
        assert attempt.result == "created"
    else:
        with pytest.raises(CloudError) as caught:
            creation.run(plan_of(ZONES[0], settings=flex))
        assert caught.value.code == "no-capacity"
        assert places(emulator) == []
    asked = next(each for each in emulator.exchanges if each.method_id == "compute.instances.insert")
    assert asked.body is not None
    assert asked.body["params"] == {"requestValidForDuration": {"seconds": "1800"}}
    assert asked.body["reservationAffinity"] == {"consumeReservationType": "NO_RESERVATION"}
    assert [found for each in emulator.exchanges for found in google_discovery.complaints(each)] == []


def test_a_vm_whose_max_run_is_over_is_stopped_with_that_reason_and_up_starts_it_again(
    emulator: FaultyEmulator,
) -> None:
    """Compute Engine stops it after 600 s, which are 0.6 s here."""
    creation = Creation(emulator)
    result = creation.run(plan_of(settings=replace(L4, max_run_s=600.0)))
    (made,) = emulator.cloud.instances
    with emulator.cloud.changed:
        assert emulator.cloud.changed.wait_for(lambda: made.status == "TERMINATED", 10)
    target = GceTarget("my-l4", project="demo", create=L4)
    find = {**creation.given(), "before_start": lambda instance: None, "host_keys_within_s": 0.0}
    with pytest.raises(CloudError) as caught:
        handlers.find(target, may_start="preempted", **find)
    assert caught.value.code == "instance-stopped"
    assert "Compute Engine stopped it after its maximum run time of 10 min" in caught.value.why
    again = handlers.find(target, **find)
    assert (again.id, again.status, again.started_from) == (result.instance.id, "RUNNING", "TERMINATED")


def test_exhausted_zones_cost_little_beyond_the_answers(emulator: FaultyEmulator) -> None:
    """Counted in requests, which do not depend on the speed of this computer: three for each zone."""
    counts = {}
    for count in (0, 2, 5):
        emulator.cloud.exhausted = dict.fromkeys(ZONES[:count], "ZONE_RESOURCE_POOL_EXHAUSTED")
        emulator.exchanges.clear()
        creation = Creation(emulator)
        result = creation.run(plan_of(*ZONES))
        counts[count] = len(emulator.exchanges)
        creation.delete(*filter(None, [result.resource]))
    assert counts[2] - counts[0] <= 2 * 4
    assert counts[5] - counts[0] <= 5 * 4
