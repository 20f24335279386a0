"""Changing and putting back instances with Google's real client, against the emulator over HTTP."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from remote_runtime.compute import handlers
from remote_runtime.compute.client.api import open_api
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, DeadlinePassed
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import GceTarget
from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.environment import google_discovery
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator, OperationFault, RequestFault


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Google's client is imported, which takes seconds of no test's deadline."""
    open_api({"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}, progress=lambda _: None, deadline=Deadline(1))


class Machine:
    """The one instance of an emulator, and what the client does to it."""

    def __init__(self, emulator: FaultyEmulator) -> None:
        self.emulator = emulator
        self.told: list[str] = []

    def as_found(self, started_from: str | None = None) -> Instance:
        live = self.emulator.cloud.instances[0]
        return Instance(
            kind="gce", name=live.vm.name, id=live.id, zone=live.vm.zone, project="demo", started_from=started_from
        )

    def change(self, action: str, *, within_s: float = 15.0) -> str:
        return handlers.set_status(self.as_found(), action, **self._given(within_s))  # type: ignore[arg-type]  # see _given

    def put_back(self, started_from: str | None) -> str:
        return handlers.restore_status(self.as_found(started_from), **self._given(15.0))  # type: ignore[arg-type]  # see _given

    def read(self, instance: Instance) -> Instance:
        return handlers.reload(instance, connect="auto", **self._given(15.0))  # type: ignore[arg-type]  # see _given

    def revive(self, *, start: bool = True) -> Instance:
        target = GceTarget("gpu-box", project="demo", start=start)
        given = {**self._given(15.0), "before_start": lambda instance: None, "host_keys_within_s": 0.0}
        return handlers.find(target, may_start="preempted", **given)  # type: ignore[arg-type]  # see _given

    def find(self, started: Callable[[Instance], None], within_s: float = 15.0) -> Instance:
        given = {**self._given(within_s), "before_start": started, "host_keys_within_s": 0.0}
        return handlers.find(GceTarget("gpu-box", project="demo"), may_start="always", **given)  # type: ignore[arg-type]  # see _given

    @property
    def status(self) -> str:
        return self.emulator.cloud.instances[0].status

    def verbs(self) -> list[str]:
        """What it was asked to do; keyword arguments in a dict have one type for all, hence the ignores above."""
        asked = [exchange.method_id.rpartition(".")[2] for exchange in self.emulator.exchanges]
        return [verb for verb in asked if verb in ("start", "resume", "stop", "suspend")]

    def _given(self, within_s: float) -> dict[str, object]:
        environ = emulator_environ(self.emulator.endpoint)
        return {"progress": self.told.append, "deadline": Deadline(within_s), "environ": environ}


@contextmanager
def machine(vm: Vm, delays: Delays | None = None) -> Iterator[Machine]:
    with FaultyEmulator([vm], delays=delays) as emulator:
        yield Machine(emulator)


@pytest.mark.parametrize(
    ("before", "action", "after", "verbs"),
    [
        ("RUNNING", "stop", "TERMINATED", ["stop"]),
        ("RUNNING", "suspend", "SUSPENDED", ["suspend"]),
        ("TERMINATED", "start", "RUNNING", ["start"]),
        ("SUSPENDED", "resume", "RUNNING", ["resume"]),
        ("SUSPENDED", "start", "RUNNING", ["resume"]),
        ("RUNNING", "start", "RUNNING", []),
        ("TERMINATED", "stop", "TERMINATED", []),
        ("TERMINATED", "suspend", "TERMINATED", []),
        ("SUSPENDED", "stop", "SUSPENDED", []),
    ],
)
def test_a_change_ends_in_the_wanted_status_and_already_so_is_success(
    before: str, action: str, after: str, verbs: list[str]
) -> None:
    with machine(Vm("gpu-box", status=before)) as vm:
        assert vm.change(action) == after
        assert (vm.status, vm.verbs()) == (after, verbs)


@pytest.mark.parametrize(
    ("status", "slow"),
    [("STOPPING", False), ("PENDING_STOP", True), ("SUSPENDING", True), ("REPAIRING", False), ("PENDING", True)],
)
def test_an_instance_that_stays_on_its_way_is_told_with_its_status_and_the_limit(status: str, slow: bool) -> None:
    """``slow``: the time is over while an answer is waited for, not between two looks."""
    with machine(Vm("gpu-box", status=status)) as vm:
        vm.emulator.latency_s = 0.25 if slow else 0.0
        with pytest.raises(DeadlinePassed) as caught:
            vm.find(lambda _: None, within_s=1.6)
        assert caught.value.what == "gpu-box was not running within 2 s"
        assert status in caught.value.why
        assert "`timeouts.instance`" in caught.value.hint
        assert "instances describe gpu-box" in caught.value.hint


def test_a_stop_that_gets_nowhere_is_told_with_the_status_too() -> None:
    with machine(Vm("gpu-box", status="REPAIRING")) as vm:
        with pytest.raises(DeadlinePassed) as caught:
            vm.change("stop", within_s=0.9)
        assert "REPAIRING" in caught.value.why
        assert "timeouts.instance" not in caught.value.hint, "that is for up"


@pytest.mark.parametrize(("action", "discarded"), [("stop", "true"), ("suspend", "false")])
def test_what_becomes_of_a_local_ssd_is_said_with_the_request_and_at_up(action: str, discarded: str) -> None:
    with machine(Vm("gpu-box", status="RUNNING", local_ssds=2)) as vm:
        vm.find(lambda _: None)
        assert any("Local SSD: what is on it is lost" in text for text in vm.told)
        assert vm.change(action) in ("TERMINATED", "SUSPENDED")
        (asked,) = [each for each in vm.emulator.exchanges if each.method_id.endswith(f".{action}")]
        assert (asked.status, asked.query["discardLocalSsd"]) == (200, discarded)
        assert google_discovery.complaints(asked) == []
    with machine(Vm("gpu-box", status="RUNNING")) as vm:
        vm.find(lambda _: None)
        vm.change(action)
        assert not any("Local SSD" in text for text in vm.told)
        assert not any("discardLocalSsd" in each.query for each in vm.emulator.exchanges)


def test_a_slow_stop_answers_that_it_is_under_way_at_the_deadline() -> None:
    with machine(Vm("gpu-box", status="RUNNING"), Delays(stop_s=30, max_wait_s=0.5)) as vm:
        assert vm.change("stop", within_s=1.5) == "STOPPING"
        assert any(text.startswith("Waiting for gpu-box to stop (STOPPING)") for text in vm.told)


def test_an_instance_that_is_suspending_is_resumed_when_it_is_down() -> None:
    with machine(Vm("gpu-box", status="SUSPENDING")) as vm:
        vm.emulator.cloud.set_status("gpu-box", "SUSPENDED", after_s=0.3)
        assert vm.change("start") == "RUNNING"
        assert vm.verbs() == ["resume"]


def test_an_instance_that_is_not_ready_for_a_start_is_started_when_it_is() -> None:
    with machine(Vm("gpu-box")) as vm:
        recorded: list[Instance] = []

        def another_hand(instance: Instance) -> None:
            if not recorded:
                vm.emulator.cloud.set_status("gpu-box", "STOPPING")
                vm.emulator.cloud.set_status("gpu-box", "TERMINATED", after_s=0.3)
            recorded.append(instance)

        assert vm.find(another_hand).started_from == "TERMINATED"
        assert vm.verbs() == ["start", "start"]
        assert [each.started_from for each in recorded] == ["TERMINATED", None, "TERMINATED"]
        vm.emulator.fail_requests.append(RequestFault(400, "resourceNotReady", "The resource 'x' is not ready"))
        assert vm.find(recorded.append).status == "RUNNING"
        vm.change("stop")
        vm.emulator.cloud.fail_next["start"] = OperationFault("RESOURCE_NOT_READY", "The resource 'x' is not ready")
        assert vm.find(recorded.append).status == "RUNNING"


def test_an_instance_that_never_gets_ready_is_told_in_googles_words() -> None:
    with machine(Vm("gpu-box")) as vm:
        vm.emulator.cloud.refusals["start"] = RequestFault(400, "resourceNotReady", "The resource 'x' is not ready")
        with pytest.raises(DeadlinePassed) as caught:
            vm.find(lambda _: None, within_s=1.6)
    assert "TERMINATED" in caught.value.why
    assert "'x' is not ready" in caught.value.why


def test_a_suspend_that_could_not_keep_a_local_ssd_names_the_command_that_loses_it() -> None:
    with machine(Vm("gpu-box", status="RUNNING", local_ssds=1)) as vm:
        vm.emulator.cloud.refusals["suspend"] = RequestFault(400, "invalid", "Local SSD data cannot be preserved.")
        with pytest.raises(CloudError) as caught:
            vm.change("suspend")
    assert "cannot be preserved" in caught.value.why
    assert "gcloud compute instances suspend gpu-box" in caught.value.hint
    assert "--discard-local-ssd=true" in caught.value.hint


def test_a_failed_suspend_is_explained() -> None:
    with machine(Vm("gpu-box", status="RUNNING")) as vm:
        vm.emulator.cloud.fail_next["suspend"] = OperationFault("UNSUPPORTED_OPERATION", "GPUs cannot be suspended.")
        with pytest.raises(CloudError) as caught:
            vm.change("suspend")
    assert caught.value.what == "Compute Engine could not suspend gpu-box"
    assert caught.value.why == "UNSUPPORTED_OPERATION: GPUs cannot be suspended."


@pytest.mark.parametrize(("started_from", "going", "ends"), [("TERMINATED", "STOPPING", "TERMINATED"),
                                                             ("SUSPENDED", "SUSPENDING", "SUSPENDED")])  # fmt: skip
def test_put_back_is_done_when_the_instance_is_on_its_way_down(started_from: str, going: str, ends: str) -> None:
    with machine(Vm("gpu-box", status="RUNNING"), Delays(stop_s=1.0)) as vm:
        assert vm.put_back(started_from) == going
        assert f"gpu-box goes back to {started_from} ({going})" in vm.told
        with vm.emulator.cloud.changed:
            assert vm.emulator.cloud.changed.wait_for(lambda: vm.status == ends, 10)


def test_put_back_waits_for_a_start_whose_answer_nobody_saw() -> None:
    with machine(Vm("gpu-box")) as vm:
        vm.emulator.cloud.set_status("gpu-box", "STAGING", after_s=0.3)
        vm.emulator.cloud.set_status("gpu-box", "RUNNING", after_s=1.5)
        assert vm.put_back("TERMINATED") in ("STOPPING", "TERMINATED")
        assert "Waiting until gpu-box accepts a request to stop (STAGING)" in vm.told


def test_put_back_leaves_a_start_that_was_never_sent() -> None:
    with machine(Vm("gpu-box")) as vm:
        assert vm.put_back("TERMINATED") == "TERMINATED"
        assert vm.verbs() == []


def test_reading_shows_the_status_and_address_of_now() -> None:
    with machine(Vm("gpu-box", status="RUNNING", address="203.0.113.9")) as vm:
        running = vm.read(vm.as_found("TERMINATED"))
        vm.change("stop")
        stopped = vm.read(running)
    assert (running.status, running.address, running.started_from) == ("RUNNING", "203.0.113.9", "TERMINATED")
    assert (stopped.status, stopped.address) == ("TERMINATED", "")


def test_an_instance_that_took_the_name_of_ours_is_left_alone() -> None:
    with machine(Vm("gpu-box", status="RUNNING")) as vm:
        ours = Instance(kind="gce", name="gpu-box", id="1", zone="us-central1-a", project="demo",
                        started_from="TERMINATED")  # fmt: skip
        with pytest.raises(CloudError) as caught:
            handlers.restore_status(ours, **vm._given(15.0))  # type: ignore[arg-type]  # see verbs
        assert vm.status == "RUNNING"
    assert caught.value.code == "instance-not-found"
    assert "replaced" in caught.value.what


# ── Spot VMs ──


def test_a_start_that_somebody_else_was_quicker_with_is_theirs() -> None:
    with machine(Vm("gpu-box"), Delays(start_s=1.0)) as vm:
        told: list[str | None] = []
        somebody_else = threading.Thread(target=vm.change, args=("start",))

        def started(instance: Instance) -> None:
            told.append(instance.started_from)
            if len(told) == 1:
                somebody_else.start()
                with vm.emulator.cloud.changed:
                    assert vm.emulator.cloud.changed.wait_for(lambda: vm.status != "TERMINATED", 10)

        found = vm.find(started)
        somebody_else.join()
        assert (found.status, found.started_from) == ("RUNNING", None)
        assert told == ["TERMINATED", None], "it is not put back by who did not start it"


def test_a_preempted_spot_vm_is_started_again() -> None:
    with machine(Vm("gpu-box", status="RUNNING", spot=True), Delays(stop_s=0.1)) as vm:
        vm.emulator.cloud.preempt("gpu-box")
        found = vm.revive()
        assert (found.status, found.started_from) == ("RUNNING", "TERMINATED")
        assert any(text.startswith("Starting gpu-box again: Compute Engine preempted it at ") for text in vm.told)


@pytest.mark.parametrize("spot", [True, False])
def test_what_a_person_stopped_is_not_started_by_what_revives(spot: bool) -> None:
    with machine(Vm("gpu-box", status="RUNNING", spot=spot)) as vm:
        if spot:
            vm.emulator.cloud.preempt("gpu-box")
            vm.revive()
        vm.change("stop")
        with pytest.raises(CloudError) as caught:
            vm.revive()
        assert vm.status == "TERMINATED"
    assert caught.value.code == "instance-stopped"
    assert re.match(r"demo@example.com stopped it at 20\d\d-\d\d-\d\d \d\d:\d\d \S+;", caught.value.why)
    assert "Run `remote-runtime up PROFILE`" in caught.value.hint


def test_who_cannot_see_what_stopped_it_starts_nothing() -> None:
    with machine(Vm("gpu-box", status="RUNNING", spot=True)) as vm:
        vm.emulator.cloud.preempt("gpu-box")
        vm.emulator.forbidden_permissions.add("compute.zoneOperations.list")
        with pytest.raises(CloudError) as caught:
            vm.revive()
        assert (vm.status, vm.verbs()) == ("TERMINATED", [])
    assert (caught.value.code, caught.value.why) == ("instance-stopped", "its status is TERMINATED")


def test_a_profile_that_forbids_starts_forbids_this_one_too() -> None:
    with machine(Vm("gpu-box", status="RUNNING", spot=True)) as vm:
        vm.emulator.cloud.preempt("gpu-box")
        with pytest.raises(CloudError) as caught:
            vm.revive(start=False)
        assert vm.verbs() == []
    assert "Compute Engine preempted it" in caught.value.why or "STOPPING" in caught.value.why
    assert "`target.start: false`" in caught.value.why
