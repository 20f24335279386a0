"""The Compute Engine emulator, through Google's client, the real gcloud and plain HTTP."""

from __future__ import annotations

import http.client
import threading
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from remote_runtime.demo.gcp_api.methods import METHODS
from remote_runtime.demo.gcp_api.os_login import METHODS as OS_LOGIN_METHODS
from remote_runtime.demo.gcp_api.services import METHOD_IDS
from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.clients.compute_http import ZONE, call, emulated, finished
from tests.support.environment import google_discovery
from tests.support.faults.faulty_emulator import FaultyEmulator, OperationFault, RequestFault

INSTANCE = f"projects/demo/zones/{ZONE}/instances/demo-vm"
KEYS = {"ssh-ed25519": "AAAAC3NzaC1lZDI1NTE5", "ecdsa-sha2-nistp256": "AAAAE2VjZHNhLXNoYTItbmlzdHA="}


def change(emulator: FaultyEmulator, verb: str) -> Any:
    status, operation = call(emulator, "POST", f"{INSTANCE}/{verb}")
    assert status == 200, operation
    return finished(emulator, operation)


def names_found(emulator: FaultyEmulator, expression: str, project: str = "demo") -> set[str]:
    status, answer = call(emulator, "GET", f"projects/{project}/aggregated/instances", filter=expression)
    assert status == 200, answer
    return {vm["name"] for scope in answer["items"].values() for vm in scope.get("instances", [])}


def await_guest_attributes(emulator: FaultyEmulator) -> Any:
    with emulator.cloud.changed:
        assert emulator.cloud.changed.wait_for(lambda: emulator.cloud.instances[0].guest_attributes, 20)
    return call(emulator, "GET", f"{INSTANCE}/getGuestAttributes", queryPath="hostkeys/")[1]["queryValue"]["items"]


def test_every_method_of_the_emulator_is_googles() -> None:
    methods = {f"compute.{method.id}" for method in METHODS} | {method.id for method in OS_LOGIN_METHODS} | METHOD_IDS
    assert methods <= google_discovery.method_ids()


def test_the_check_against_googles_document_finds_what_it_does_not_allow() -> None:
    with emulated(Vm("demo-vm")) as emulator:
        call(emulator, "GET", INSTANCE)
        good = emulator.exchanges[0]
    assert google_discovery.complaints(good) == []
    wrong = [
        replace(good, answer=good.answer | {"colour": "red"}),
        replace(good, answer=good.answer | {"id": 7}),
        replace(good, answer=good.answer | {"status": "SLEEPING"}),
        replace(good, answer=good.answer | {"labelFingerprint": "?"}),
        replace(good, query={"verbose": "1"}),
        replace(good, path=f"projects/demo/zones/{ZONE}/instances/Not_A_Name"),
        replace(good, path="projects/demo/moons/phobos"),
        replace(good, body={}),
        replace(good, status=404),
    ]
    assert [bool(google_discovery.complaints(exchange)) for exchange in wrong] == [True] * len(wrong)


def test_an_instance_starts_suspends_resumes_resets_and_stops() -> None:
    with emulated(Vm("demo-vm")) as emulator:
        seen = []
        for verb in ("start", "suspend", "resume", "reset", "stop"):
            operation = change(emulator, verb)
            assert (operation["operationType"], operation["progress"]) == (verb, 100)
            instance = call(emulator, "GET", INSTANCE)[1]
            seen.append((instance["status"], "natIP" in instance["networkInterfaces"][0]["accessConfigs"][0]))
    assert seen == [
        ("RUNNING", True),
        ("SUSPENDED", False),
        ("RUNNING", True),
        ("RUNNING", True),
        ("TERMINATED", False),
    ]


def test_a_start_goes_through_the_statuses_of_a_real_one() -> None:
    seen: list[str] = []
    with emulated(Vm("demo-vm"), delays=Delays(queue_s=0.05, start_s=0.1)) as emulator:
        operation = call(emulator, "POST", f"{INSTANCE}/start")[1]
        assert operation["status"] == "PENDING"
        instance = emulator.cloud.instances[0]
        with emulator.cloud.changed:
            while "RUNNING" not in seen:
                seen += [instance.status] if instance.status not in seen else []
                assert emulator.cloud.changed.wait(20)
                seen += [instance.status] if instance.status not in seen else []
        finished(emulator, operation)
    assert seen == ["PROVISIONING", "STAGING", "RUNNING"]


def test_an_ephemeral_address_changes_with_each_start() -> None:
    with emulated(Vm("demo-vm")) as emulator:
        addresses = set()
        for _ in range(2):
            change(emulator, "start")
            addresses.add(call(emulator, "GET", INSTANCE)[1]["networkInterfaces"][0]["accessConfigs"][0]["natIP"])
            change(emulator, "stop")
    assert len(addresses) == 2


@pytest.mark.parametrize(
    ("status", "verb", "http_status", "reason"),
    [
        ("RUNNING", "start", 200, None),
        ("TERMINATED", "stop", 200, None),
        ("STAGING", "start", 400, "resourceNotReady"),
        ("STOPPING", "start", 400, "resourceNotReady"),
        ("SUSPENDED", "start", 400, "invalid"),
        ("TERMINATED", "resume", 400, "invalid"),
        ("TERMINATED", "suspend", 400, "invalid"),
    ],
)
def test_what_a_status_does_not_allow_is_refused(status: str, verb: str, http_status: int, reason: str | None) -> None:
    with emulated(Vm("demo-vm", status=status)) as emulator:
        answered, answer = call(emulator, "POST", f"{INSTANCE}/{verb}")
    assert answered == http_status
    assert answer.get("error", {"errors": [{"reason": None}]})["errors"][0]["reason"] == reason


@pytest.mark.parametrize(("code", "http_status"), [("ZONE_RESOURCE_POOL_EXHAUSTED", 503), ("QUOTA_EXCEEDED", 403)])
def test_a_start_can_fail_inside_its_operation_and_the_next_one_works(code: str, http_status: int) -> None:
    with emulated(Vm("demo-vm")) as emulator:
        emulator.cloud.fail_next["start"] = OperationFault(code)
        failed = change(emulator, "start")
        assert failed["error"]["errors"][0]["code"] == code
        assert failed["error"]["errors"][0]["message"]
        assert failed["httpErrorStatusCode"] == http_status
        assert call(emulator, "GET", INSTANCE)[1]["status"] == "TERMINATED"
        assert "error" not in change(emulator, "start")


def test_an_operation_that_takes_longer_than_the_server_waits_is_answered_unfinished() -> None:
    with emulated(Vm("demo-vm"), delays=Delays(start_s=20, max_wait_s=0.05)) as emulator:
        operation = call(emulator, "POST", f"{INSTANCE}/start")[1]
        waited = call(emulator, "POST", f"projects/demo/zones/{ZONE}/operations/{operation['name']}/wait")[1]
        assert waited["status"] in ("PENDING", "RUNNING")
        listed = call(emulator, "GET", f"projects/demo/zones/{ZONE}/operations")[1]["items"]
        assert [found["name"] for found in listed] == [operation["name"]]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("", {"demo-vm", "train-1", "train-2"}),
        ('name = "demo-vm"', {"demo-vm"}),
        ("name=demo-vm", {"demo-vm"}),
        ('(name eq "train.*")', {"train-1", "train-2"}),
        ("name eq train", set()),
        ("name ne 'train-.'", {"demo-vm"}),
        ("name:( train-1 train-2 )", None),
        ("name:train*", {"train-1", "train-2"}),
        ("name=train-*", {"train-1", "train-2"}),
        ("labels.team=vision", {"train-1", "train-2"}),
        ("labels.team=vision AND status = RUNNING", {"train-2"}),
        ('(labels.team = "vision") (status != RUNNING)', {"train-1"}),
        ("labels.team:*", {"train-1", "train-2"}),
        ("-labels.team:*", {"demo-vm"}),
        ("NOT status=RUNNING", {"demo-vm", "train-1"}),
        ("name=demo-vm OR labels.team=vision status=RUNNING", {"train-2"}),
        ("scheduling.automaticRestart = true", {"demo-vm", "train-1", "train-2"}),
        ("networkInterfaces.accessConfigs.name = 'External NAT'", {"demo-vm", "train-1", "train-2"}),
        ("disks.diskSizeGb > 99", {"demo-vm", "train-1", "train-2"}),
        ("disks.diskSizeGb > 100", set()),
        ("name =", None),
        ("(name=x", None),
        ("name eq '('", None),
    ],
)
def test_instances_are_filtered_as_compute_engine_does(expression: str, names: set[str] | None) -> None:
    vms = (
        Vm("demo-vm"),
        Vm("train-1", labels={"team": "vision"}),
        Vm("train-2", zone="us-east1-b", labels={"team": "vision"}, status="RUNNING"),
        Vm("demo-vm", project="elsewhere"),
    )
    with emulated(*vms) as emulator:
        if names is None:
            status, answer = call(emulator, "GET", "projects/demo/aggregated/instances", filter=expression)
            assert (status, answer["error"]["errors"][0]["reason"]) == (400, "invalid")
        else:
            assert names_found(emulator, expression) == names


def test_pages_hold_no_more_than_asked_and_lead_to_the_next() -> None:
    with emulated(*(Vm(f"vm-{number}") for number in range(3))) as emulator:
        path = f"projects/demo/zones/{ZONE}/instances"
        first = call(emulator, "GET", path, maxResults="2")[1]
        second = call(emulator, "GET", path, maxResults="2", pageToken=first["nextPageToken"])[1]
        damaged = call(emulator, "GET", path, pageToken="!")[0]
    assert [vm["name"] for page in (first, second) for vm in page["items"]] == ["vm-0", "vm-1", "vm-2"]
    assert "nextPageToken" not in second
    assert damaged == 400


def test_metadata_is_replaced_only_with_the_fingerprint_that_was_read() -> None:
    with emulated(Vm("demo-vm", metadata={"kept": "yes"})) as emulator:
        read = call(emulator, "GET", INSTANCE)[1]["metadata"]
        wanted = {"fingerprint": read["fingerprint"], "items": [*read["items"], {"key": "ssh-keys", "value": "me:x"}]}
        emulator.cloud.lost_races = 1
        status, answer = call(emulator, "POST", f"{INSTANCE}/setMetadata", wanted)
        assert (status, answer["error"]["errors"][0]["reason"]) == (412, "conditionNotMet")
        again = call(emulator, "GET", INSTANCE)[1]["metadata"]
        assert {item["key"] for item in again["items"]} == {"kept", "written-meanwhile"}
        status, operation = call(
            emulator, "POST", f"{INSTANCE}/setMetadata", wanted | {"fingerprint": again["fingerprint"]}
        )
        assert status == 200
        finished(emulator, operation)
        assert emulator.cloud.instances[0].metadata == {"kept": "yes", "ssh-keys": "me:x"}


def test_host_keys_reach_the_guest_attributes_after_the_boot() -> None:
    with emulated(Vm("demo-vm", host_keys=KEYS, host_keys_after_s=0.1)) as emulator:
        status, answer = call(emulator, "GET", f"{INSTANCE}/getGuestAttributes", queryPath="hostkeys/")
        assert (status, answer["error"]["code"]) == (404, 404)
        assert "Guest Attribute" in answer["error"]["message"]
        change(emulator, "start")
        items = await_guest_attributes(emulator)
    assert {item["key"]: item["value"] for item in items} == KEYS
    assert {item["namespace"] for item in items} == {"hostkeys"}


@pytest.mark.parametrize(
    ("project", "instance", "status"),
    [
        ({}, {}, 404),
        ({"enable-guest-attributes": "TRUE"}, {}, 200),
        ({"enable-guest-attributes": "TRUE"}, {"enable-guest-attributes": "false"}, 404),
    ],
)
def test_guest_attributes_are_there_if_instance_or_project_says_so(
    project: dict[str, str], instance: dict[str, str], status: int
) -> None:
    vm = Vm("demo-vm", status="RUNNING", metadata=instance, host_keys=KEYS)
    with emulated(vm, project_metadata={"demo": project}) as emulator:
        assert call(emulator, "GET", f"{INSTANCE}/getGuestAttributes", queryPath="hostkeys/")[0] == status
        items = call(emulator, "GET", "projects/demo")[1]["commonInstanceMetadata"].get("items", [])
    assert {item["key"]: item["value"] for item in items} == project


def test_the_serial_port_shows_each_boot_and_can_be_read_on() -> None:
    with emulated(Vm("demo-vm")) as emulator:
        change(emulator, "start")
        first = call(emulator, "GET", f"{INSTANCE}/serialPort", port="1")[1]
        assert "demo-vm login:" in first["contents"]
        change(emulator, "reset")
        then = call(emulator, "GET", f"{INSTANCE}/serialPort", start=first["next"])[1]
    assert then["contents"] == first["contents"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("projects/demo/zones/us-central1-a/instances/nope", 404, "instances/nope"),
        ("projects/nope/zones/us-central1-a/instances/demo-vm", 404, "projects/nope"),
        ("projects/demo/zones/moon1-a/instances/demo-vm", 400, "Unknown zone"),
        ("projects/demo/zones/us-central1-a/operations/nope", 404, "operations/nope"),
        ("projects/demo/zones/us-central1-a/unheard-of", 404, "not found"),
    ],
)
def test_what_is_not_there_is_named(path: str, status: int, said: str) -> None:
    with emulated(Vm("demo-vm")) as emulator:
        answered, answer = call(emulator, "GET", path)
    assert answered == status
    assert said in answer["error"]["message"]


def test_zones_can_be_listed_and_read() -> None:
    with emulated(Vm("demo-vm", zone="asia-east1-c")) as emulator:
        listed = call(emulator, "GET", "projects/demo/zones", filter="name=asia-east1-c")[1]["items"]
        assert listed == [call(emulator, "GET", "projects/demo/zones/asia-east1-c")[1]]


def test_a_forbidden_permission_and_a_broken_request_are_answered_in_googles_shape() -> None:
    with emulated(Vm("demo-vm")) as emulator:
        emulator.forbidden_permissions.add("compute.instances.start")
        status, answer = call(emulator, "POST", f"{INSTANCE}/start")
        assert (status, answer["error"]["errors"][0]["reason"]) == (403, "forbidden")
        assert answer["error"]["message"] == f"Required 'compute.instances.start' permission for '{INSTANCE}'"
        emulator.fail_requests.append(RequestFault(503))
        assert [call(emulator, "GET", INSTANCE)[0] for _ in range(2)] == [503, 200]


def test_another_hand_can_stop_the_instance() -> None:
    with emulated(Vm("demo-vm", status="RUNNING")) as emulator:
        emulator.cloud.set_status("demo-vm", "STOPPING", after_s=0.01)
        with emulator.cloud.changed:
            assert emulator.cloud.changed.wait_for(lambda: emulator.cloud.instances[0].status == "STOPPING", 20)
        assert call(emulator, "GET", INSTANCE)[1]["status"] == "STOPPING"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Host": "evil.example"}, None, 403),
        ({"Origin": "https://evil.example", "Content-Type": "application/json"}, "{}", 403),
        ({"Content-Type": "text/plain"}, "{}", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "a=b", 415),
        ({"Content-Type": "application/json"}, "{", 400),
        ({"Content-Type": "application/json"}, "[]", 400),
        ({"Content-Type": "application/json", "Content-Length": "99999999"}, "", 413),
    ],
)
def test_a_web_page_or_a_broken_client_is_refused(headers: dict[str, str], body: str | None, status: int) -> None:
    with emulated(Vm("demo-vm")) as emulator:
        url = urlsplit(f"{emulator.endpoint}{INSTANCE}/start")
        connection = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=20)
        connection.request("POST", url.path, body, headers)
        response = connection.getresponse()
        assert response.status == status
        assert not [name for name in response.headers if name.lower().startswith("access-control")]
        connection.close()
        assert emulator.cloud.instances[0].status == "TERMINATED"


def test_without_the_prefix_nothing_is_there() -> None:
    with emulated(Vm("demo-vm")) as emulator:
        port = urlsplit(emulator.endpoint).port or 0
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", f"/compute/v1/{INSTANCE}")
        assert connection.getresponse().status == 404
        connection.close()


def test_closing_leaves_no_thread_and_waits_for_no_client() -> None:
    with emulated(Vm("demo-vm"), delays=Delays(start_s=60)) as emulator:
        call(emulator, "POST", f"{INSTANCE}/start")
        url = urlsplit(emulator.endpoint)
        idle = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=20)
        idle.connect()
    idle.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("demo-")]


def test_googles_own_client_finds_and_starts_an_instance() -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import compute_v1

    with emulated(Vm("demo-vm", labels={"team": "vision"}), Vm("demo-vm", zone="us-east1-b", project="b")) as emulator:
        nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth annotates only a part
        options: Any = {"client_options": {"api_endpoint": emulator.root}, "credentials": nobody}
        instances, operations = compute_v1.InstancesClient(**options), compute_v1.ZoneOperationsClient(**options)
        pages = dict(instances.aggregated_list(request={"project": "demo", "filter": "labels.team=vision"}))
        assert [found.name for found in pages[f"zones/{ZONE}"].instances] == ["demo-vm"]
        assert pages["zones/us-east1-b"].warning.code == "NO_RESULTS_ON_PAGE"
        where: Any = {"project": "demo", "zone": ZONE}
        operation = instances.start_unary(instance="demo-vm", **where)
        done = operations.wait(operation=operation.name, **where)
        assert done.status == compute_v1.Operation.Status.DONE
        assert instances.get(instance="demo-vm", **where).status == "RUNNING"
