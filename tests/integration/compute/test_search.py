"""Looking up and starting instances with Google's real client, against the emulator over HTTP."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from remote_runtime.compute import handlers
from remote_runtime.compute.instances import inventory
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, DeadlinePassed, Interrupted
from remote_runtime.core.model import AttachedDisk, Instance
from remote_runtime.core.profile import GceTarget
from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.environment import google_discovery
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator, OperationFault, RequestFault

ED25519 = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode()
TARGET = GceTarget(instance="gpu-box", project="demo")


class Caller:
    """What a caller of the client is told and asked to record."""

    def __init__(self, emulator: FaultyEmulator) -> None:
        self.emulator = emulator
        self.told: list[str] = []
        self.started: list[Instance] = []
        self.requests_before_started = 0

    def tell(self, text: str) -> None:
        self.told.append(text)

    def record(self, instance: Instance) -> None:
        self.started.append(instance)
        self.requests_before_started = len(self.emulator.exchanges)

    def find(self, target: GceTarget = TARGET, *, within_s: float = 20.0, host_keys_within_s: float = 0.0) -> Instance:
        return handlers.find(
            target,
            progress=self.tell,
            deadline=Deadline(within_s),
            environ=environ(self.emulator.endpoint),
            before_start=self.record,
            host_keys_within_s=host_keys_within_s,
        )

    def refusal(self, target: GceTarget = TARGET, *, within_s: float = 20.0) -> CloudError:
        with pytest.raises(CloudError) as caught:
            self.find(target, within_s=within_s)
        return caught.value


def environ(endpoint: str) -> dict[str, str]:
    return {
        **emulator_environ(endpoint),
        "CLOUDSDK_CONFIG": "/nonexistent",
    }


@contextmanager
def caller(*vms: Vm, delays: Delays | None = None) -> Iterator[Caller]:
    with FaultyEmulator(vms, delays=delays) as emulator:
        yield Caller(emulator)


def test_a_running_instance_is_found_with_address_and_host_keys() -> None:
    vm = Vm("gpu-box", status="RUNNING", address="203.0.113.7", host_keys={"ssh-ed25519": ED25519})
    with caller(vm) as ask:
        found = ask.find(replace(TARGET, zone="us-central1-a"))
        number = ask.emulator.cloud.instances[0].id
    assert found == Instance(
        kind="gce",
        name="gpu-box",
        address="203.0.113.7",
        status="RUNNING",
        id=number,
        zone="us-central1-a",
        project="demo",
        host_key_name=f"compute.{number}",
        host_keys=(f"ssh-ed25519 {ED25519}",),
        project_from="the profile",
        zone_from="the profile",
        credentials_from="no credentials",
        via="external",
        disks=(AttachedDisk("gpu-box", 100, is_deleted=True),),
    )
    assert ask.started == []
    assert ask.told[0] == ("Finding gpu-box in project demo, zone us-central1-a, with no credentials")


def test_a_stopped_instance_is_started_after_the_caller_recorded_what_to_undo() -> None:
    with caller(Vm("gpu-box", host_keys={"ssh-ed25519": ED25519})) as ask:
        found = ask.find()
        assert found.address == ask.emulator.cloud.instances[0].nat_ip
        methods = [exchange.method_id for exchange in ask.emulator.exchanges]
        query = ask.emulator.exchanges[methods.index("compute.instances.start")].query
    assert (found.status, found.started_from) == ("RUNNING", "TERMINATED")
    assert [each.started_from for each in ask.started] == ["TERMINATED"]
    assert "compute.instances.start" not in methods[: ask.requests_before_started]
    assert "Starting gpu-box (TERMINATED)" in ask.told
    assert query["requestId"]


def test_a_suspended_instance_is_resumed() -> None:
    with caller(Vm("gpu-box", status="SUSPENDED")) as ask:
        found = ask.find()
        methods = {exchange.method_id for exchange in ask.emulator.exchanges}
    assert (found.status, found.started_from) == ("RUNNING", "SUSPENDED")
    assert "compute.instances.resume" in methods
    assert "compute.instances.start" not in methods


def test_an_instance_that_is_stopping_is_waited_for_and_then_started() -> None:
    with caller(Vm("gpu-box", status="STOPPING")) as ask:
        ask.emulator.cloud.set_status("gpu-box", "TERMINATED", after_s=0.5)
        found = ask.find()
    assert found.started_from == "TERMINATED"
    assert "Waiting for gpu-box to stop, to start it again (STOPPING)" in ask.told


def test_an_instance_that_someone_else_starts_is_waited_for_and_not_ours_to_undo() -> None:
    with caller(Vm("gpu-box", status="STAGING")) as ask:
        ask.emulator.cloud.set_status("gpu-box", "RUNNING", after_s=0.5)
        found = ask.find()
    assert found.started_from is None
    assert ask.started == []
    assert "Waiting for gpu-box to run (STAGING)" in ask.told


@pytest.mark.parametrize(("status", "verb"), [("TERMINATED", "start"), ("SUSPENDED", "resume"), ("STOPPING", "start")])
def test_without_start_an_instance_that_is_down_is_refused_with_the_command(status: str, verb: str) -> None:
    with caller(Vm("gpu-box", status=status)) as ask:
        error = ask.refusal(replace(TARGET, start=False))
    assert error.code == "instance-stopped"
    assert status in error.why
    assert f"gcloud compute instances {verb} gpu-box --zone=us-central1-a --project=demo" in error.hint
    assert "target.start: true" in error.hint


@pytest.mark.parametrize("status", ["DEPROVISIONING", "\x1b[31mRED"])
def test_an_instance_in_a_status_that_leads_nowhere_is_reported(status: str) -> None:
    with caller(Vm("gpu-box", status=status)) as ask:
        error = ask.refusal()
    assert error.code == "instance-not-startable"
    assert error.why == f"its status is {'UNKNOWN' if 'RED' in status else status}"


def test_an_instance_that_stops_again_by_itself_is_not_started_for_ever() -> None:
    with caller(Vm("gpu-box"), delays=Delays(start_s=0.1)) as ask:
        cloud = ask.emulator.cloud
        stopper = threading.Thread(target=_stop_as_soon_as_done, args=(ask.emulator,))
        stopper.start()
        error = ask.refusal()
        stopper.join()
    assert error.code == "instance-not-startable"
    assert "started and stopped again" in error.what
    assert cloud.instances[0].status == "TERMINATED"


def _stop_as_soon_as_done(emulator: FaultyEmulator) -> None:
    with emulator.cloud.changed:
        emulator.cloud.changed.wait_for(lambda: emulator.cloud.instances[0].status == "RUNNING", 20)
        emulator.cloud.set_status("gpu-box", "TERMINATED")


def test_a_missing_instance_names_what_is_similar_and_where_we_looked() -> None:
    with caller(Vm("gpu-box-1"), Vm("web")) as ask:
        error = ask.refusal()
    assert error.code == "instance-not-found"
    assert error.what == "No instance gpu-box in project demo, in any zone"
    assert error.why == "Instances in demo: gpu-box-1 (us-central1-a, TERMINATED), web (us-central1-a, TERMINATED)"
    assert error.hint == "Did you mean gpu-box-1? Set `target.instance: gpu-box-1`"


def test_a_missing_instance_names_five_others_the_similar_ones_first() -> None:
    with caller(*(Vm(f"a{number}") for number in range(6)), Vm("gpu-boxes")) as ask:
        error = ask.refusal()
    assert error.why == (
        "Instances in demo: gpu-boxes (us-central1-a, TERMINATED), a0 (us-central1-a, TERMINATED), "
        "a1 (us-central1-a, TERMINATED), a2 (us-central1-a, TERMINATED), a3 (us-central1-a, TERMINATED) and 2 more"
    )


def test_an_instance_in_another_zone_than_the_profiles_is_not_taken_but_named() -> None:
    with caller(Vm("gpu-box", zone="us-east1-b")) as ask:
        error = ask.refusal(replace(TARGET, zone="us-central1-a"))
    assert error.code == "instance-not-found"
    assert error.why == "it is in us-east1-b"
    assert "target.zone: us-east1-b" in error.hint


@pytest.mark.parametrize("target", [replace(TARGET, project="nope"), replace(TARGET, zone="mars-north1-a")])
def test_a_project_or_zone_that_does_not_exist_is_told_in_googles_words(target: GceTarget) -> None:
    with caller(Vm("web")) as ask:
        error = ask.refusal(target)
    assert error.code == "instance-not-found"
    assert target.project in error.what  # type: ignore[operator]  # it is set above
    assert "nope" in error.why or "mars-north1-a" in error.what


def test_two_instances_of_one_name_are_ambiguous_and_listed() -> None:
    vms = Vm("gpu-box", status="RUNNING"), Vm("gpu-box", zone="us-east1-b")
    with caller(*vms) as ask:
        error = ask.refusal()
        found = ask.find(replace(TARGET, zone="us-central1-a"))
    assert error.code == "instance-ambiguous"
    assert error.why == "gpu-box in us-central1-a (RUNNING), gpu-box in us-east1-b (TERMINATED)"
    assert "target.zone" in error.hint
    assert found.zone == "us-central1-a"


def test_an_instance_is_found_by_all_of_its_labels() -> None:
    vms = (
        Vm("a", status="RUNNING", labels={"team": "vision", "tier": "gpu"}),
        Vm("b", status="RUNNING", labels={"team": "vision"}),
        Vm("c", status="RUNNING", labels={"team": "visions", "tier": "gpu"}),
    )
    with caller(*vms) as ask:
        found = ask.find(GceTarget(labels={"team": "vision", "tier": "gpu"}, project="demo"))
        ambiguous = ask.refusal(GceTarget(labels={"team": "vision"}, project="demo"))
        missing = ask.refusal(GceTarget(labels={"team": "sound"}, project="demo"))
    assert found.name == "a"
    assert ambiguous.code == "instance-ambiguous"
    assert missing.code == "instance-not-found"
    assert "team=sound" in missing.what


def test_a_zone_of_the_environment_is_only_where_the_search_begins() -> None:
    with caller(Vm("gpu-box", zone="us-east1-b", status="RUNNING")) as ask:
        found = handlers.find(
            TARGET,
            progress=ask.tell,
            deadline=Deadline(20),
            environ={**environ(ask.emulator.endpoint), "CLOUDSDK_COMPUTE_ZONE": "us-central1-a"},
            before_start=ask.record,
            host_keys_within_s=0.0,
        )
    assert (found.zone, found.zone_from) == ("us-east1-b", "the search in all zones")


@pytest.mark.parametrize(
    ("fault", "code", "why", "hint"),
    [
        (
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            "no-capacity",
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            "run `remote-runtime up PROFILE --move`. Try again later. Zones of the region that have e2-standard-4: "
            "us-central1-b",
        ),
        (
            "QUOTA_EXCEEDED",
            "quota-exceeded",
            "NVIDIA_L4_GPUS",
            "gcloud compute regions describe us-central1 --project=demo",
        ),
        ("RESOURCE_NOT_FOUND", "instance-not-startable", "RESOURCE_NOT_FOUND", ""),
    ],
)
def test_a_start_that_fails_in_its_operation_is_explained(fault: str, code: str, why: str, hint: str) -> None:
    with caller(Vm("gpu-box")) as ask:
        ask.emulator.cloud.fail_next["start"] = OperationFault(fault)
        error = ask.refusal()
    assert error.code == code
    assert why in error.why
    assert hint in error.hint
    assert [each.started_from for each in ask.started] == ["TERMINATED"]


@pytest.mark.parametrize(
    ("vm", "hint"),
    [
        (Vm("gpu-box", machine_type="n1-standard-4", accelerator="nvidia-tesla-t4"), "nvidia-tesla-t4: us-central1-b"),
        (Vm("gpu-box", zone="us-east1-b"), "no other zone of the region has e2-standard-4"),
    ],
)
def test_a_zone_without_room_leads_to_those_that_have_the_machine_and_its_gpu(vm: Vm, hint: str) -> None:
    with caller(vm) as ask:
        ask.emulator.cloud.fail_next["start"] = OperationFault("ZONE_RESOURCE_POOL_EXHAUSTED")
        error = ask.refusal()
        complaints = [found for exchange in ask.emulator.exchanges for found in google_discovery.complaints(exchange)]
    assert hint in error.hint
    assert complaints == []


def test_zones_that_may_not_be_listed_lead_to_the_command_that_lists_them() -> None:
    with caller(Vm("gpu-box")) as ask:
        ask.emulator.cloud.fail_next["start"] = OperationFault("ZONE_RESOURCE_POOL_EXHAUSTED")
        ask.emulator.forbidden_permissions.add("compute.machineTypes.list")
        assert "zones list --filter=region:us-central1" in ask.refusal().hint


def test_a_disk_that_was_deleted_is_named_with_the_command_that_restores_it() -> None:
    gone = "The resource 'projects/demo/zones/us-central1-a/disks/gpu-box' was not found"
    with caller(Vm("gpu-box")) as ask:
        ask.emulator.cloud.fail_next["start"] = OperationFault("RESOURCE_NOT_FOUND", gone)
        error = ask.refusal()
    assert error.what == "Compute Engine could not start gpu-box: its disk gpu-box does not exist"
    assert "gcloud compute disks create gpu-box --zone=us-central1-a --project=demo" in error.hint


def test_a_permission_that_is_missing_inside_a_start_is_named_with_its_role() -> None:
    said = "Required 'iam.serviceAccounts.actAs' permission for 'robot@demo'"
    with caller(Vm("gpu-box")) as ask:
        ask.emulator.cloud.fail_next["start"] = OperationFault("PERMISSIONS_ERROR", said)
        error = ask.refusal()
    assert (error.code, "iam.serviceAccounts.actAs is missing" in error.what) == ("permission-denied", True)
    assert "--role=roles/iam.serviceAccountUser" in error.hint


@pytest.mark.parametrize("permission", ["compute.instances.list", "compute.instances.start"])
def test_a_missing_permission_is_named(permission: str) -> None:
    with caller(Vm("gpu-box")) as ask:
        ask.emulator.forbidden_permissions.add(permission)
        error = ask.refusal()
    assert error.code == "permission-denied"
    assert f"{permission} is missing" in error.what
    assert error.why.startswith("Required '")
    assert "roles/compute.instanceAdmin.v1" in error.hint


def test_refused_credentials_lead_to_what_renews_them() -> None:
    with caller(Vm("gpu-box")) as ask:
        ask.emulator.fail_requests.append(RequestFault(401, "authError", "Request had invalid credentials."))
        error = ask.refusal()
    assert (error.code, error.hint) == ("no-credentials", "Unset CLOUDSDK_AUTH_DISABLE_CREDENTIALS")


def test_a_refused_token_file_leads_to_the_command_that_writes_it_anew(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ya29.expired")
    with caller(Vm("gpu-box")) as ask:
        ask.emulator.fail_requests.append(RequestFault(401, "authError", "Request had invalid credentials."))
        signed_in = {
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "",
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
        }
        error = _refusal_at(ask.emulator.endpoint, within_s=10, extra=signed_in)
    assert error.code == "no-credentials"
    assert "gcloud auth print-access-token" in error.hint
    assert "ya29" not in str(error.as_dict())


def test_an_api_that_is_switched_off_leads_to_the_command_that_turns_it_on() -> None:
    with caller(Vm("gpu-box")) as ask:
        ask.emulator.fail_requests.append(RequestFault(403, "accessNotConfigured", "Compute Engine API is off."))
        error = ask.refusal()
    assert error.code == "permission-denied"
    assert "gcloud services enable compute.googleapis.com --project=demo" in error.hint


def test_a_busy_api_is_asked_again() -> None:
    with caller(Vm("gpu-box", status="RUNNING")) as ask:
        busy = [RequestFault(503), RequestFault(429, "rateLimitExceeded"), RequestFault(403, "rateLimitExceeded")]
        ask.emulator.fail_requests.extend(busy)
        found = ask.find()
    assert found.status == "RUNNING"
    assert any(text.startswith("Retrying Compute Engine") for text in ask.told)


def test_an_api_that_stays_busy_is_unreachable_at_the_deadline() -> None:
    with caller(Vm("gpu-box", status="RUNNING")) as ask:
        ask.emulator.fail_requests.extend([RequestFault(503)] * 100)
        error = ask.refusal(within_s=3.0)
    assert error.code == "cloud-unreachable"
    assert "503" in error.why


def test_a_closed_port_is_unreachable_within_seconds() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        began = time.monotonic()
        error = _refusal_at(endpoint, within_s=60.0)
    assert error.code == "cloud-unreachable"
    assert error.what == f"Can't reach the Compute Engine API at {endpoint}"
    assert error.why == "connection refused"
    assert time.monotonic() - began < 30


def test_an_api_that_accepts_and_never_answers_is_unreachable_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        error = _refusal_at(f"http://127.0.0.1:{silent.getsockname()[1]}", within_s=3.0)
    assert (error.code, error.why) == ("cloud-unreachable", "the request timed out")
    assert time.monotonic() - began < 20


def test_something_else_than_the_api_is_told_so() -> None:
    page = b"<html>Log in to the hotel's network</html>"
    with socket.create_server(("127.0.0.1", 0)) as portal:
        threading.Thread(target=_answer_everything, args=(portal, b"200 OK", page), daemon=True).start()
        error = _refusal_at(f"http://127.0.0.1:{portal.getsockname()[1]}", within_s=5.0)
    assert error.code == "cloud-unreachable"
    assert "not from the Compute Engine API" in error.why


def _answer_everything(server: socket.socket, status: bytes, page: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(page), page))


def _refusal_at(endpoint: str, *, within_s: float, extra: Mapping[str, str] | None = None) -> CloudError:
    with pytest.raises(CloudError) as caught:
        handlers.find(
            TARGET,
            progress=lambda text: None,
            deadline=Deadline(within_s),
            environ={**environ(endpoint), **(extra or {})},
            before_start=lambda instance: None,
            host_keys_within_s=0.0,
        )
    return caught.value


def test_a_start_that_takes_too_long_says_what_it_waited_for() -> None:
    with (
        caller(Vm("gpu-box"), delays=Delays(start_s=30, max_wait_s=0.5)) as ask,
        pytest.raises(DeadlinePassed) as late,
    ):
        ask.find(within_s=4.0)
    assert late.value.what == "gpu-box was not running within 4 s"
    assert late.value.why == "its status is PROVISIONING"
    assert "Starting gpu-box (PROVISIONING)" in ask.told


def test_a_start_that_takes_longer_than_a_held_request_tells_how_it_goes() -> None:
    with caller(Vm("gpu-box"), delays=Delays(start_s=3.6)) as ask:
        found = ask.find()
    assert found.status == "RUNNING"
    assert any(text.startswith("Starting gpu-box (STAGING), ") for text in ask.told)


def test_work_that_is_cancelled_ends_at_once() -> None:
    with caller(Vm("gpu-box", status="STAGING")) as ask:
        cancelled = threading.Event()
        timer = threading.Timer(0.5, cancelled.set)
        timer.start()
        with pytest.raises(Interrupted):
            handlers.find(
                TARGET,
                progress=ask.tell,
                deadline=Deadline(30, cancelled),
                environ=environ(ask.emulator.endpoint),
                before_start=ask.record,
                host_keys_within_s=0.0,
            )
        timer.join()


# ── addresses ──


def test_an_internal_address_is_taken_when_the_profile_says_so() -> None:
    with caller(Vm("gpu-box", status="RUNNING", external=False)) as ask:
        found = ask.find(replace(TARGET, connect="internal"))
    assert found.address.startswith("10.128.0.")


def test_an_external_ipv6_address_serves_where_there_is_no_ipv4() -> None:
    with caller(Vm("gpu-box", status="RUNNING", external=False, external_ipv6="2600:1900::7")) as ask:
        found = ask.find()
    assert found.address == "2600:1900::7"
    assert found.via == "external"


@pytest.mark.parametrize(("connect", "why"), [("auto", "no external address"), ("iap", "set in the profile")])
def test_an_instance_without_an_external_address_is_reached_through_iap(
    connect: Literal["auto", "iap"], why: str
) -> None:
    with caller(Vm("gpu-box", external=False)) as ask:
        found = ask.find(replace(TARGET, connect=connect))
        assert ask.emulator.cloud.instances[0].status == "RUNNING"
    assert found.via == "iap"
    assert why in found.why_via


def test_an_external_address_is_preferred_to_iap() -> None:
    with caller(Vm("gpu-box")) as ask:
        assert ask.find().via == "external"
        assert ask.find(replace(TARGET, connect="iap")).via == "iap"


def test_an_instance_that_cannot_be_reached_is_refused_before_it_is_started() -> None:
    with caller(Vm("gpu-box", external=False)) as ask:
        error = ask.refusal(replace(TARGET, connect="external"))
        assert ask.emulator.cloud.instances[0].status == "TERMINATED"
    assert error.code == "no-address"
    assert "`target.connect: auto`" in error.hint


# ── host keys ──


def test_host_keys_that_come_late_are_waited_for_after_a_start() -> None:
    with caller(Vm("gpu-box", host_keys={"ssh-ed25519": ED25519}, host_keys_after_s=1.0)) as ask:
        found = ask.find(host_keys_within_s=15.0)
    assert found.host_keys == (f"ssh-ed25519 {ED25519}",)
    assert "Waiting for gpu-box to publish its host keys" in ask.told


def test_host_keys_that_never_come_are_done_without() -> None:
    with caller(Vm("gpu-box", host_keys_after_s=600)) as ask:
        found = ask.find(host_keys_within_s=0.3)
    assert found.host_keys == ()
    assert "gpu-box has published no host keys yet" in ask.told


def test_host_keys_are_not_waited_for_on_a_machine_that_ran_already() -> None:
    with caller(Vm("gpu-box", status="RUNNING", host_keys_after_s=600)) as ask:
        found = ask.find(host_keys_within_s=60.0)
    assert found.host_keys == ()
    assert not any("host keys" in text for text in ask.told)


@pytest.mark.parametrize(
    ("instance", "project", "expected"),
    [({}, {}, 0), ({"enable-guest-attributes": "FALSE"}, {"enable-guest-attributes": "TRUE"}, 0),
     ({}, {"enable-guest-attributes": "TRUE"}, 1)],
)  # fmt: skip
def test_the_instances_switch_for_guest_attributes_wins_over_the_projects(
    instance: dict[str, str], project: dict[str, str], expected: int
) -> None:
    vm = Vm("gpu-box", status="RUNNING", metadata=instance, host_keys={"ssh-ed25519": ED25519})
    with FaultyEmulator([vm], project_metadata={"demo": project}) as emulator:
        found = Caller(emulator).find()
        asked = [exchange for exchange in emulator.exchanges if "GuestAttributes" in exchange.method_id]
    assert (len(found.host_keys), len(asked)) == (expected, expected)


def test_host_keys_that_may_not_be_read_are_told_and_done_without() -> None:
    with caller(Vm("gpu-box", status="RUNNING", host_keys={"ssh-ed25519": ED25519})) as ask:
        ask.emulator.forbidden_permissions.add("compute.instances.getGuestAttributes")
        found = ask.find()
    assert found.host_keys == ()
    assert any("compute.instances.getGuestAttributes" in text for text in ask.told)


def test_what_is_no_host_key_is_dropped() -> None:
    keys = {
        "ssh-ed25519": f"{ED25519} root@gpu-box",
        "ssh-rsa": ED25519,
        "ecdsa-sha2-nistp256": "not base64!",
        "ssh-ed25519\nevil": ED25519,
        "sk-ssh-ed25519@openssh.com": "A" * 100_000,
    }
    with caller(Vm("gpu-box", status="RUNNING", host_keys=keys)) as ask:
        found = ask.find()
    assert found.host_keys == (f"ssh-ed25519 {ED25519}",)


# ── hostile answers ──


def test_escape_codes_and_endless_text_of_the_api_do_not_reach_the_terminal() -> None:
    evil = "gpu-boy\x1b]0;owned\x07\x1b[31m" + "x" * 1_000_000
    with caller(Vm(evil), Vm("gpu-bo\x1b[2J")) as ask:
        error = ask.refusal()
        ask.emulator.fail_requests.append(RequestFault(403, "forbidden", "\x1b[31m" + "y" * 3_000_000))
        refused = ask.refusal()
    for text in (*error.as_dict().values(), *refused.as_dict().values()):
        assert "\x1b" not in text
        assert len(text) < 1000


# ── zones that do not answer ──


def test_an_instance_that_could_not_be_looked_for_is_not_said_to_be_missing() -> None:
    away = Vm("gpu-box", zone="us-east1-b", labels={"team": "vision"})
    with caller(away, Vm("other", zone="us-central1-a")) as ask:
        ask.emulator.cloud.unreachable_zones.add("us-east1-b")
        for target in (TARGET, GceTarget(labels={"team": "vision"}, project="demo")):
            error = ask.refusal(target)
            assert error.code == "cloud-unreachable"
            assert "us-east1-b" in error.what
        known = environ(ask.emulator.endpoint)
        listed = inventory.list_instances("demo", progress=ask.tell, deadline=Deadline(9), environ=known)
        assert [each.name for each in listed] == ["other"]
        assert "us-east1-b" in ask.told[-1]
        # A zone that the profile names, and that answered, has it or not.
        assert ask.refusal(replace(TARGET, zone="us-central1-a")).code == "instance-not-found"
        found = ask.find(replace(TARGET, instance="other"))
        assert found.zone == "us-central1-a"
        assert any("us-east1-b" in text for text in ask.told)


def test_zones_worth_trying_are_not_said_to_be_all_where_some_did_not_answer() -> None:
    with caller(Vm("gpu-box", machine_type="g2-standard-8", zone="us-central1-b")) as ask:
        ask.emulator.cloud.fail_next["start"] = OperationFault("ZONE_RESOURCE_POOL_EXHAUSTED")
        ask.emulator.cloud.unreachable_zones.add("us-central1-a")
        error = ask.refusal()
    assert error.code == "no-capacity"
    assert "no other zone" not in error.hint


@pytest.mark.parametrize("name", ["gpu/box", "gpu-box\x1b[2J", "..", "", "Gpu", "a" * 64])
def test_an_api_that_names_what_cannot_be_an_instance_is_no_bug_of_ours(name: str) -> None:
    with caller(Vm(name, status="RUNNING", labels={"team": "vision"})) as ask:
        error = ask.refusal(GceTarget(labels={"team": "vision"}, project="demo"))
    assert error.code == "cloud-unreachable"
    assert "not the Compute Engine API" in error.what
    assert "\x1b" not in error.why
