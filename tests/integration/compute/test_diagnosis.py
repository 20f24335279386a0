"""Why SSH does not get in, asked with Google's real client from the emulator over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from remote_runtime import compute
from remote_runtime.compute import handlers
from remote_runtime.compute.instances.convert import Connect
from remote_runtime.core.deadline import Deadline, wait_until
from remote_runtime.core.errors import CloudError, RemoteRuntimeError, SshError
from remote_runtime.core.model import Instance
from remote_runtime.demo.gcp_api.networks import firewall_rule
from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.environment import google_discovery
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults import boot_logs
from tests.support.faults.faulty_emulator import FaultyEmulator

OS_LOGIN = {"enable-oslogin": "TRUE"}
NOBODY_KNOWS_US = "no-usable-key"


class Patient:
    """The one instance of an emulator, which somebody could not enter."""

    def __init__(self, emulator: FaultyEmulator) -> None:
        self.emulator = emulator
        self.told: list[str] = []

    def tell(self, text: str) -> None:
        self.told.append(text)

    @property
    def instance(self) -> Instance:
        live = self.emulator.cloud.instances[0]
        return Instance("gce", live.vm.name, "203.0.113.7", id=live.id, zone=live.vm.zone, project="demo")

    def causes(
        self,
        code: str = "ssh-unreachable",
        connect: Connect = "external",
        through_iap: RemoteRuntimeError | None = None,
        **changes: Any,
    ) -> list[RemoteRuntimeError]:
        return handlers.diagnose(
            replace(self.instance, **changes),
            code,
            connect=connect,
            through_iap=through_iap,
            progress=self.tell,
            deadline=Deadline(20),
            environ=environ(self.emulator),
        )

    def cause(
        self,
        code: str = "ssh-unreachable",
        connect: Connect = "external",
        through_iap: RemoteRuntimeError | None = None,
    ) -> RemoteRuntimeError:
        """The first, and only one."""
        (cause,) = self.causes(code, connect, through_iap)
        return cause


def environ(emulator: FaultyEmulator) -> dict[str, str]:
    return emulator_environ(emulator.endpoint)


@contextmanager
def patient(vm: Vm | None = None, *, delays: Delays | None = None) -> Iterator[Patient]:
    """Every exchange is held against Google's document when the test ends."""
    with FaultyEmulator([vm or Vm("gpu-box", status="RUNNING")], delays=delays) as emulator:
        yield Patient(emulator)
    assert [found for exchange in emulator.exchanges for found in google_discovery.complaints(exchange)] == []


def test_an_instance_that_looks_well_has_no_cause() -> None:
    with patient() as ill:
        assert ill.causes() == []
        assert ill.causes(connect="internal") == []
        assert ill.causes("ssh-refused") == []


def test_a_firewall_without_a_rule_for_ssh_leads_to_the_command_that_opens_it() -> None:
    with patient() as ill:
        ill.emulator.cloud.networks["demo"]["firewalls"] = [firewall_rule("demo", "web", "0.0.0.0/0", ports=("443",))]
        cause = ill.cause()
    assert (cause.code, cause.what) == ("firewall-blocked", "The firewall blocks tcp:22 from the internet")
    assert cause.why == "no rule of network default allows it"
    assert "--network=default --allow=tcp:22 --source-ranges=YOUR_ADDRESS/32" in cause.hint


def test_identity_aware_proxys_range_is_what_counts_on_its_way() -> None:
    with patient() as ill:
        ill.emulator.cloud.networks["demo"]["firewalls"] = [firewall_rule("demo", "office", "198.51.100.0/24")]
        through_iap = ill.cause("iap-backend-unreachable", "iap")
        direct = ill.cause()
        ill.emulator.cloud.networks["demo"]["firewalls"] = [firewall_rule("demo", "iap", "35.235.240.0/20")]
        open_for_iap = ill.cause("iap-backend-unreachable", "iap")
        assert ill.causes("iap-unreachable", "iap") == []
    assert open_for_iap.code == "iap-backend-unreachable"
    assert open_for_iap.what == "No SSH server listens on tcp:22"
    assert "get-serial-port-output gpu-box" in open_for_iap.hint
    assert "Identity-Aware Proxy (35.235.240.0/20)" in through_iap.what
    assert "--source-ranges=35.235.240.0/20" in through_iap.hint
    assert direct.what == "The firewall allows tcp:22 only from 198.51.100.0/24"


IAP_ONLY = "The firewall allows tcp:22 only from Identity-Aware Proxy (35.235.240.0/20)"
NOTHING_THERE = SshError("iap-backend-unreachable", "IAP cannot reach port 22", "the firewall, or no server", "look")
REFUSED = SshError("iap-refused", "No permission", "4033", "ask for the role")


def test_a_firewall_that_lets_only_identity_aware_proxy_in_leads_there() -> None:
    with patient() as ill:
        ill.emulator.cloud.networks["demo"]["firewalls"] = [firewall_rule("demo", "iap", "35.235.240.0/20")]
        for connect in ("external", "internal"):
            cause = ill.cause(connect=connect)
            assert cause.code == "firewall-blocked"
            assert cause.hint == "Set `target.connect: iap`: the firewall allows Identity-Aware Proxy"
        assert ill.cause().what == IAP_ONLY
        assert ill.cause().why == "no rule of network default allows others"


def test_of_two_ways_the_one_that_the_firewall_leaves_open_is_to_be_mended() -> None:
    with patient() as ill:
        ill.emulator.cloud.networks["demo"]["firewalls"] = [firewall_rule("demo", "iap", "35.235.240.0/20")]
        refused = ill.cause(through_iap=REFUSED)
        silent = ill.cause(through_iap=NOTHING_THERE)
    assert (refused.code, refused.what, refused.hint) == ("iap-refused", IAP_ONLY, "ask for the role")
    assert (silent.code, silent.what) == ("iap-backend-unreachable", "No SSH server listens on tcp:22")
    assert "get-serial-port-output" in silent.hint


def test_a_firewall_that_closes_both_ways_is_opened_where_that_is_enough() -> None:
    with patient() as ill:
        ill.emulator.cloud.networks["demo"]["firewalls"] = []
        refused = ill.cause(through_iap=REFUSED)
        silent = ill.cause(through_iap=NOTHING_THERE)
        ill.emulator.cloud.networks["demo"]["firewalls"] = [firewall_rule("demo", "office", "198.51.100.0/24")]
        assert ill.cause(through_iap=REFUSED).what == "The firewall allows tcp:22 only from 198.51.100.0/24"
    for cause in (refused, silent):
        assert cause.code == "firewall-blocked"
        assert "from the internet and from Identity-Aware Proxy (35.235.240.0/20)" in cause.what
    assert "--source-ranges=YOUR_ADDRESS/32" in refused.hint, "IAP would still refuse"
    assert "--source-ranges=35.235.240.0/20" in silent.hint, "one range is less than the internet"


def test_an_address_that_the_firewall_leaves_open_is_not_explained_by_the_other_way() -> None:
    with patient() as ill:
        assert ill.causes(through_iap=REFUSED) == []
        assert ill.causes(through_iap=NOTHING_THERE) == []


def test_a_boot_under_way_explains_more_than_a_port_where_nothing_listens() -> None:
    with patient(Vm("gpu-box", status="RUNNING", boot_log=boot_logs.STARTING)) as ill:
        assert ill.cause("iap-backend-unreachable", "iap").code == "machine-booting"


def test_a_rule_that_refuses_is_named() -> None:
    with patient() as ill:
        ill.emulator.cloud.networks["demo"]["firewalls"].append(
            firewall_rule("demo", "lockdown", "0.0.0.0/0", allow=False, priority=100)
        )
        assert ill.cause().why == "firewall rule lockdown (priority 100) denies it"


@pytest.mark.parametrize(
    ("boot_log", "code", "what"),
    [
        (boot_logs.PANIC, "machine-not-booted", "The kernel of gpu-box panicked"),
        (boot_logs.EMERGENCY, "machine-not-booted", "gpu-box is in emergency mode"),
        (boot_logs.NO_SSHD, "machine-not-booted", "The SSH server of gpu-box did not start"),
        (boot_logs.DISK_FULL, "disk-full", "The disk of gpu-box is full"),
        (boot_logs.STARTING, "machine-booting", "gpu-box has not finished booting"),
    ],
)
def test_the_serial_console_tells_of_a_boot_that_went_wrong(boot_log: str, code: str, what: str) -> None:
    with patient(Vm("gpu-box", status="RUNNING", boot_log=boot_log)) as ill:
        cause = ill.cause()
        refused = ill.causes("ssh-refused")[0]
    assert (cause.code, cause.what) == (code, what)
    assert refused.code == code
    assert cause.hint


def test_a_full_disk_explains_a_refused_key() -> None:
    with patient(Vm("gpu-box", status="RUNNING", boot_log=boot_logs.DISK_FULL)) as ill:
        assert ill.causes(NOBODY_KNOWS_US)[0].code == "disk-full"


def test_os_login_is_named_when_keys_do_not_count() -> None:
    with patient(Vm("gpu-box", status="RUNNING", metadata=OS_LOGIN)) as ill:
        assert ill.cause(NOBODY_KNOWS_US).code == "os-login-required"
        ill.emulator.cloud.forbidden_permissions |= {"compute.instances.osLogin", "compute.instances.osAdminLogin"}
        forbidden = ill.cause(NOBODY_KNOWS_US)
    assert forbidden.code == "permission-denied"
    assert "compute.instances.osLogin is missing" in forbidden.what
    assert "--role=roles/compute.osLogin" in forbidden.hint


def test_the_permission_to_add_a_key_is_named_when_it_is_missing() -> None:
    with patient() as ill:
        assert ill.causes(NOBODY_KNOWS_US) == []
        ill.emulator.cloud.forbidden_permissions.add("compute.instances.setMetadata")
        assert "compute.instances.setMetadata is missing" in ill.cause(NOBODY_KNOWS_US).what


def test_who_stopped_it_is_told() -> None:
    with patient(Vm("gpu-box", status="RUNNING", spot=True), delays=Delays(queue_s=0, stop_s=0.01)) as ill:
        cloud = ill.emulator.cloud
        for stop, words in (
            (lambda: cloud.preempt("gpu-box"), "Compute Engine preempted it at 20"),
            (lambda: cloud.change("stop", cloud.instances[0]), "demo@example.com stopped it at 20"),
        ):
            cloud.set_status("gpu-box", "RUNNING")
            stop()
            wait_until(lambda: cloud.instances[0].status == "TERMINATED", Deadline(10), every_s=0.01, what="the stop")
            cause = ill.cause()
            assert cause.code == "instance-stopped"
            assert cause.why.startswith(words)


def test_an_instance_that_is_gone_or_replaced_is_the_cause() -> None:
    with patient() as ill:
        assert [cause.code for cause in ill.causes(name="gone")] == ["instance-not-found"]
        assert [cause.code for cause in ill.causes(id="1")] == ["instance-not-found"]


def test_what_may_not_be_asked_is_left_out_and_told() -> None:
    with patient() as ill:
        ill.emulator.cloud.networks["demo"]["firewalls"] = []
        ill.emulator.cloud.forbidden_permissions.add("compute.instances.getSerialPortOutput")
        assert ill.cause().code == "firewall-blocked"
        ill.emulator.cloud.forbidden_permissions.add("compute.instances.getEffectiveFirewalls")
        assert ill.causes() == []
    assert any("compute.instances.getEffectiveFirewalls is missing" in text for text in ill.told)


def test_the_front_door_answers_with_causes_as_values() -> None:
    with patient(Vm("gpu-box", status="RUNNING", boot_log=boot_logs.PANIC)) as ill:
        given: Any = {"progress": ill.tell, "deadline": Deadline(30)}
        (cause,) = compute.diagnose(
            ill.instance, "ssh-unreachable", environ={**os.environ, **environ(ill.emulator)}, **given
        )
        assert (type(cause), cause.code) == (SshError, "machine-not-booted")
        assert "Kernel panic" in cause.why


def test_an_api_that_does_not_answer_is_an_error_of_its_own() -> None:
    with patient() as ill, pytest.raises(CloudError) as caught:
        handlers.diagnose(
            ill.instance,
            "ssh-unreachable",
            connect="external",
            through_iap=None,
            progress=ill.tell,
            deadline=Deadline(5),
            environ={**environ(ill.emulator), "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": "http://127.0.0.1:9/"},
        )
    assert caught.value.code == "cloud-unreachable"


def test_the_range_of_an_ipv6_address_is_as_long_as_one() -> None:
    with patient(Vm("gpu-box", status="RUNNING", external=False, external_ipv6="2600:1900::7")) as ill:
        ill.emulator.cloud.networks["demo"]["firewalls"] = [firewall_rule("demo", "web", "::/0", ports=("443",))]
        (cause,) = ill.causes(address="2600:1900::7")
    assert cause.code == "firewall-blocked"
    assert "--source-ranges=YOUR_ADDRESS/128" in cause.hint
