"""An error of entering a machine, with the cause that Compute Engine knows of: its front door, a real child process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from remote_runtime import ssh
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import Interrupted, RemoteRuntimeError, SshError
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import GceTarget, Profile, SshTarget
from remote_runtime.demo.gcp_api.emulator import ComputeEmulator
from remote_runtime.demo.gcp_api.networks import firewall_rule
from remote_runtime.demo.gcp_api.values import Vm
from remote_runtime.state.store import StateDir
from remote_runtime.targets import open_target
from remote_runtime.targets.routes import ExternalAndIapFailed
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults import boot_logs

ERROR = SshError("ssh-unreachable", "Nothing answers at 203.0.113.7:22", "no answer within 10 s", "a hint")
PROFILE = Profile("vm", Path("vm.yaml"), GceTarget("gpu-box", project="demo"))


class Asked:
    """``told``: what was said meanwhile."""

    def __init__(self, emulator: ComputeEmulator | None, tmp_path: Path) -> None:
        endpoint = emulator.endpoint if emulator else "http://127.0.0.1:9/"
        environ = {
            **os.environ,
            **emulator_environ(endpoint),
        }
        self.told: list[str] = []
        self.state, self.environ = StateDir(tmp_path), environ
        number = emulator.cloud.instances[0].id if emulator else "1"
        self.instance = Instance("gce", "gpu-box", "203.0.113.7", id=number, zone="us-central1-a", project="demo")

    def tell(self, text: str) -> None:
        self.told.append(text)

    def explain(
        self, error: RemoteRuntimeError = ERROR, profile: Profile = PROFILE, deadline: Deadline | None = None
    ) -> RemoteRuntimeError:
        within = deadline or Deadline(30)
        target = open_target(profile, self.state, self.environ, ssh.Keys())
        return target.explain(self.instance, error, progress=self.tell, deadline=within)


def test_the_cause_is_told_with_the_error_that_it_explains(tmp_path: Path) -> None:
    with ComputeEmulator([Vm("gpu-box", status="RUNNING", boot_log=boot_logs.EMERGENCY)]) as emulator:
        explained = Asked(emulator, tmp_path).explain()
    assert explained.code == "machine-not-booted"
    assert explained.what == "Nothing answers at 203.0.113.7:22 (no answer within 10 s)"
    assert explained.why.startswith('gpu-box is in emergency mode: its serial console shows "You are in emergency mode')
    assert "get-serial-port-output gpu-box --zone=us-central1-a --project=demo" in explained.hint


def test_after_both_ways_have_failed_it_is_the_one_that_is_open_that_is_told(tmp_path: Path) -> None:
    second = SshError("iap-refused", "These credentials may not reach it", "4033 not authorized", "ask for the role")
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator:
        emulator.cloud.networks["demo"]["firewalls"] = [firewall_rule("demo", "iap", "35.235.240.0/20")]
        explained = Asked(emulator, tmp_path).explain(ExternalAndIapFailed(ERROR, second))
    assert (explained.code, explained.hint) == ("iap-refused", "ask for the role")
    assert explained.what.endswith("Identity-Aware Proxy: These credentials may not reach it (4033 not authorized))")
    assert explained.why.startswith("The firewall allows tcp:22 only from Identity-Aware Proxy (35.235.240.0/20): ")


def test_an_error_that_nothing_explains_stays_as_it_is(tmp_path: Path) -> None:
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator:
        asked = Asked(emulator, tmp_path)
        assert asked.explain() is ERROR
        assert asked.told == ["Diagnosing through the Compute Engine API"]


def test_an_api_that_does_not_answer_hides_nothing(tmp_path: Path) -> None:
    assert Asked(None, tmp_path).explain() is ERROR


def test_what_the_cloud_cannot_know_is_not_asked(tmp_path: Path) -> None:
    asked = Asked(None, tmp_path)
    elsewhere = Profile("box", Path("box.yaml"), SshTarget("box"))
    changed = SshError("host-key-changed", "Another key")
    assert asked.explain(profile=elsewhere) is ERROR
    assert asked.explain(changed) is changed
    assert asked.told == []


def test_being_called_off_is_no_reason(tmp_path: Path) -> None:
    called_off = threading.Event()
    called_off.set()
    with pytest.raises(Interrupted):
        Asked(None, tmp_path).explain(deadline=Deadline(30, called_off))
