"""What is checked before a VM is created, against the emulator: what stops `up`, what it says, what it cannot read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.compute import handlers
from remote_runtime.core.creation import BootDisk, CreateSettings, CreationPlan, GpuRequest, ImageSource
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError
from remote_runtime.core.model import Finding
from remote_runtime.core.profile import GceTarget
from remote_runtime.demo.gcp_api import networks
from remote_runtime.demo.gcp_api.http_server import LoopbackServer
from remote_runtime.demo.gcp_api.values import Json, Vm
from tests.support.environment import google_discovery
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator
from tests.support.price_rows import catalogue

DEBIAN = ImageSource(family="debian-12", project="debian-cloud")
DEEP_LEARNING = ImageSource(family="pytorch-2-9-cu129-ubuntu-2404-nvidia-580", project="deeplearning-platform-release")
L4 = CreateSettings("g2-standard-8", DEBIAN, boot_disk=BootDisk(100))
TARGET = GceTarget("my-l4", project="demo", zones=("us-central1-b", "us-central1-a"), create=L4)
IAP_RULE = networks.firewall_rule("demo", "iap", "35.235.240.0/20")


class Project:
    """The emulated project that a creation is checked in."""

    def __init__(self, emulator: FaultyEmulator, cache: Path) -> None:
        self.emulator = emulator
        self.resources = emulator.cloud.networks["demo"]
        self.resources["routers"] += networks.nat_routers("demo")
        root = emulator.os_login_endpoint
        self.environ = {
            **emulator_environ(emulator.endpoint),
            **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": root for api in ("SERVICEUSAGE", "CLOUDRESOURCEMANAGER")},
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING": root,
            "CLOUDSDK_CONFIG": "/nonexistent",
            "REMOTE_RUNTIME_CACHE_DIR": str(cache),
        }

    def findings(self, target: GceTarget = TARGET, **options: Any) -> dict[str, Finding]:
        checked = handlers.check_creation(
            target, progress=lambda text: None, deadline=Deadline(20), environ=self.environ, **options
        )
        return {finding.check: finding for finding in checked.findings}

    def plan(self, target: GceTarget = TARGET, **options: Any) -> CreationPlan:
        return handlers.plan_creation(
            target, "c1", progress=lambda text: None, deadline=Deadline(20), environ=self.environ, **options
        )

    def refusal(self, target: GceTarget = TARGET, **options: Any) -> CloudError:
        with pytest.raises(CloudError) as caught:
            self.plan(target, **options)
        assert not self.emulator.cloud.instances
        return caught.value


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with FaultyEmulator(project_metadata={"demo": {}}) as emulator:
        yield Project(emulator, tmp_path / "cache")
        assert [each for exchange in emulator.exchanges for each in google_discovery.complaints(exchange)] == []


def with_create(**changes: Any) -> GceTarget:
    return replace(TARGET, create=replace(L4, **changes))


def test_a_project_with_everything_passes_and_has_a_price_if_the_list_is_there(project: Project) -> None:
    project.emulator.cloud.skus = catalogue()
    found = project.findings()
    assert {name: finding.verdict for name, finding in found.items()} == dict.fromkeys(found, "ok")
    assert list(found) == ["apis", "creation-permissions", "quota", "network", "creation-firewall", "egress"]
    assert found["egress"].what == "Cloud NAT in us-central1"
    assert "Identity-Aware Proxy (35.235.240.0/20)" in found["creation-firewall"].what

    plan = project.plan()  # the list comes before the question
    assert plan.notes == ()
    assert plan.price is not None
    assert plan.price.amount == pytest.approx(8 * 0.025 + 32 * 0.003 + 0.56 + 100 * 0.1 / 730)
    t4 = with_create(machine_type="n1-standard-8", gpu=GpuRequest("nvidia-tesla-t4"), provisioning="spot")
    spot = project.plan(t4).price
    assert spot is not None
    assert spot.amount == pytest.approx(8 * 0.007 + 30 * 0.001 + 0.11 + 100 * 0.1 / 730)


def test_a_price_list_that_does_not_come_is_waited_for_no_longer_than_said(project: Project) -> None:
    asked, answered = threading.Event(), threading.Event()

    def answer(method: str, path: str, query: object, body: object) -> tuple[int, Json]:
        asked.set()
        answered.wait(30)
        return 200, {"skus": []}

    server = LoopbackServer("/billing", answer)
    server.start()
    try:
        root = f"http://127.0.0.1:{server.port}/billing/"
        project.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"] = root
        plan = project.plan(price_within_s=0.2)
        assert asked.is_set()
        assert not answered.is_set()
        assert plan.price is None
    finally:
        answered.set()
        server.close()


def test_without_a_way_out_up_stops_and_offers_cloud_nat_or_an_external_address(project: Project) -> None:
    project.resources["routers"].clear()
    error = project.refusal()
    assert (error.code, error.what) == ("no-egress", "The VM would have no internet access in us-central1")
    first, second = (part for part in error.hint.split("`") if part.startswith("gcloud"))
    assert first == (
        "gcloud compute routers create nat-default-us-central1 --network=default --region=us-central1 --project=demo"
    )
    assert "routers nats create nat --router=nat-default-us-central1 --auto-allocate-nat-external-ips" in second
    assert "target.create.external_address: true" in error.hint

    assert project.plan(with_create(external_address=True))
    assert project.plan(with_create(image=DEEP_LEARNING)), "the image has Jupyter"
    assert project.plan(needs_internet=False)
    other = networks.router("demo", "us-central1", network="other")
    elsewhere = networks.router("demo", "europe-west4")
    private = networks.router("demo", "us-central1")
    private["nats"][0] |= {"type": "PRIVATE"}
    listed = networks.router("demo", "us-central1")
    listed["nats"][0] |= {"sourceSubnetworkIpRangesToNat": "LIST_OF_SUBNETWORKS", "subnetworks": [{"name": ".../sub"}]}
    project.resources["routers"] += [other, elsewhere, private, listed]
    assert project.refusal().code == "no-egress"
    listed["nats"][0]["subnetworks"] = [{"name": "projects/demo/regions/us-central1/subnetworks/default"}]
    assert project.plan()


def test_a_default_route_through_another_machine_is_a_way_out(project: Project) -> None:
    project.resources["routers"].clear()
    route = networks.default_route("demo") | {"nextHopInstance": "projects/demo/zones/us-central1-a/instances/proxy"}
    del route["nextHopGateway"]
    project.resources["routes"].append(route)
    assert "through another machine" in project.findings()["egress"].what
    assert project.plan()


def test_without_a_rule_for_iap_up_stops_and_an_existing_rule_that_covers_it_counts(project: Project) -> None:
    rules = project.resources["firewalls"]
    rules[:] = [rule for rule in rules if rule["name"] != "default-allow-ssh"]
    error = project.refusal()
    assert error.code == "firewall-blocked"
    assert error.hint == (
        "Run `gcloud compute firewall-rules create allow-ssh-from-iap-default --project=demo --network=default "
        "--allow=tcp:22 --source-ranges=35.235.240.0/20`"
    )
    external = project.refusal(with_create(external_address=True))
    assert (external.code, external.hint.count("YOUR_ADDRESS/32")) == ("firewall-blocked", 1)

    rules.append(IAP_RULE | {"targetTags": ["ssh"]})
    assert project.refusal().code == "firewall-blocked", "the rule is for VMs with the tag"
    assert project.plan(with_create(tags=("ssh",)))
    rules[-1] = networks.firewall_rule("demo", "iap-and-more", "35.235.240.0/19", ports=("20-23",))
    assert project.plan()
    rules.append(networks.firewall_rule("demo", "closed", "0.0.0.0/0", allow=False, priority=1))
    denied = project.refusal()
    assert denied.why == "firewall rule closed (priority 1) denies it"
    rules[:] = [networks.firewall_rule("demo", "office", "198.51.100.0/24")]
    partly = project.findings(with_create(external_address=True))["creation-firewall"]
    assert (partly.verdict, "198.51.100.0/24" in partly.what) == ("warning", True)
    assert project.plan(with_create(external_address=True)), "this computer may be there"


def test_a_network_and_a_subnet_that_do_not_exist_stop_up(project: Project) -> None:
    error = project.refusal(with_create(network="lab"))
    assert (error.code, error.what) == ("instance-not-created", "Project demo has no network lab")
    assert "gcloud compute networks create lab --subnet-mode=auto --project=demo" in error.hint
    error = project.refusal(with_create(subnet="sub"))
    assert error.what == "Project demo has no subnet sub in us-central1"
    project.resources["networks"].append(networks.network("demo", "lab") | {"autoCreateSubnetworks": False})
    assert project.refusal(with_create(network="lab")).hint.startswith("Set `target.create.subnet`")
    project.resources["subnetworks"].append(networks.subnetwork("demo", "us-central1", "sub", "lab"))
    project.resources["routers"].append(networks.router("demo", "us-central1", "lab-nat", "lab"))
    project.resources["firewalls"].append(networks.firewall_rule("demo", "lab", "35.235.240.0/20", network="lab"))
    path = "projects/demo/regions/us-central1/subnetworks/sub"
    assert project.plan(with_create(network="lab", subnet="sub"))
    assert project.findings(with_create(subnet=path))["network"].what == "subnet sub, in us-central1"


def test_apis_that_are_disabled_stop_up_with_the_command_that_enables_them(project: Project) -> None:
    project.emulator.cloud.disabled_services = {"iap.googleapis.com", "cloudbilling.googleapis.com"}
    error = project.refusal()
    assert (error.code, error.what) == ("permission-denied", "The API iap.googleapis.com is disabled in project demo")
    assert error.hint == "Run `gcloud services enable iap.googleapis.com --project=demo`"
    by_address = project.findings(with_create(external_address=True))["apis"]
    assert by_address.verdict == "ok"
    assert by_address.what.endswith("prices are not shown: the Cloud Billing API is disabled")


def test_permissions_and_quotas_that_are_short_are_said_and_do_not_stop_up(project: Project) -> None:
    project.emulator.forbidden_permissions |= {"compute.disks.create", "iap.tunnelInstances.accessViaIAP"}
    limits = project.emulator.cloud.quota_limits
    limits["us-central1", "NVIDIA_L4_GPUS"] = 0.0
    limits["", "GPUS_ALL_REGIONS"] = 0.0
    found = project.findings()
    permissions, quota = found["creation-permissions"], found["quota"]
    assert permissions.what == (
        "The credentials lack compute.disks.create, iap.tunnelInstances.accessViaIAP in project demo"
    )
    assert (quota.verdict, quota.code) == ("failed", "quota-exceeded")
    assert quota.why == (
        "GPUS_ALL_REGIONS in all regions together: 0 of 0 in use, 1 needed; "
        "NVIDIA_L4_GPUS in us-central1: 0 of 0 in use, 1 needed"
    )
    assert "console.cloud.google.com/iam-admin/quotas?project=demo" in quota.hint
    assert [note.partition(":")[0] for note in project.plan().notes] == [permissions.what, quota.what]

    limits["", "GPUS_ALL_REGIONS"] = 8.0
    spot = project.findings(with_create(provisioning="spot"))["quota"]
    assert spot.verdict == "ok", "Spot has a quota of its own"
    limits["us-central1", "PREEMPTIBLE_NVIDIA_L4_GPUS"] = 0.0
    assert project.findings(with_create(provisioning="spot"))["quota"].verdict == "failed"
    limits["us-central1", "NVIDIA_L4_GPUS"] = 4.0
    assert project.findings(with_create(provisioning="spot"))["quota"].verdict == "ok", "the standard quota counts"


def test_what_cannot_be_read_is_skipped_with_the_reason_and_does_not_stop_up(project: Project) -> None:
    project.emulator.forbidden_permissions |= {
        "serviceusage.services.get", "compute.regions.get", "compute.networks.get", "compute.routers.list",
        "compute.regionNetworkFirewallPolicies.getEffectiveFirewalls",
    }  # fmt: skip
    del project.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER"]
    found = project.findings()
    assert {finding.verdict for finding in found.values()} == {"skipped"}
    assert "compute.routers.list" in found["egress"].why
    assert project.plan().notes == ()
    assert not [vm for vm in project.emulator.cloud.instances if isinstance(vm, Vm)]


def test_only_the_network_of_the_vm_is_judged(project: Project) -> None:
    rules: list[Json] = project.resources["firewalls"]
    rules[:] = [networks.firewall_rule("demo", "other", "0.0.0.0/0", network="other")]
    assert project.refusal().code == "firewall-blocked"
    inside = replace(TARGET, connect="internal")
    assert project.findings(inside)["creation-firewall"].verdict == "skipped"
    assert project.plan(inside)
