"""The emulator through the real gcloud, where it is installed; every request takes it a second or two."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.profile import SshSettings
from remote_runtime.demo.gcp_api.values import Delays, Vm
from remote_runtime.ssh import Keys
from tests.support.clients import gcloud_requests
from tests.support.environment import google_discovery
from tests.support.faults.faulty_emulator import FaultyEmulator

pytestmark = pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed here")

ZONE = "us-central1-a"
ME = "me@example.com"
KEYS = {"ssh-ed25519": "AAAAC3NzaC1lZDI1NTE5", "ecdsa-sha2-nistp256": "AAAAE2VjZHNhLXNoYTItbmlzdHA="}
QUICK = Delays(queue_s=0.0, start_s=0.02, stop_s=0.02, metadata_s=0.0, boot_s=0.0)
Gcloud = Callable[..., str]


@pytest.fixture
def emulator() -> Iterator[FaultyEmulator]:
    vm = Vm("demo-vm", labels={"team": "vision"}, host_keys=KEYS)
    spot = Vm("spot-vm", spot=True, status="RUNNING")
    ssd = Vm("ssd-vm", zone="europe-west4-a", local_ssds=1, status="RUNNING")
    with FaultyEmulator([vm, spot, ssd], delays=QUICK) as emulator:
        yield emulator
    assert [found for exchange in emulator.exchanges for found in google_discovery.complaints(exchange)] == []


@pytest.fixture
def gcloud(emulator: FaultyEmulator, tmp_path: Path) -> Gcloud:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.endpoint,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN": emulator.os_login_endpoint,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_ACCOUNT": ME,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_PROJECT": "demo",
    }

    def run(*words: str, warnings: bool = False) -> str:
        done = subprocess.run(["gcloud", *words], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stderr if warnings else done.stdout

    return run


def running(emulator: FaultyEmulator) -> Any:
    instance = emulator.cloud.instances[0]
    emulator.cloud.change("start", instance)
    with emulator.cloud.changed:
        assert emulator.cloud.changed.wait_for(lambda: instance.guest_attributes, 20)
    return instance


def test_the_real_gcloud_lists_starts_and_reads_guest_attributes(emulator: FaultyEmulator, gcloud: Gcloud) -> None:
    found = gcloud("compute", "instances", "list", "--filter=labels.team=vision AND status=TERMINATED")
    assert "demo-vm" in found
    gcloud("compute", "instances", "start", "demo-vm", f"--zone={ZONE}")
    instance = emulator.cloud.instances[0]
    assert instance.status == "RUNNING"
    with emulator.cloud.changed:
        assert emulator.cloud.changed.wait_for(lambda: instance.guest_attributes, 20)
    shown = gcloud(
        "compute", "instances", "get-guest-attributes", "demo-vm", f"--zone={ZONE}", "--query-path=hostkeys/"
    )
    assert all(value in shown for value in KEYS.values())
    log = gcloud("compute", "instances", "get-serial-port-output", "demo-vm", f"--zone={ZONE}")
    assert "login:" in log
    gcloud("compute", "instances", "stop", "demo-vm", f"--zone={ZONE}")
    assert instance.status == "TERMINATED"


def test_the_real_gcloud_is_asked_what_becomes_of_a_local_ssd_and_told_of_a_zone_that_does_not_answer(
    emulator: FaultyEmulator, gcloud: Gcloud
) -> None:
    where = "--zone=europe-west4-a"
    with pytest.raises(AssertionError, match="discard-local-ssd"):
        gcloud("compute", "instances", "stop", "ssd-vm", where)
    gcloud("compute", "instances", "stop", "ssd-vm", where, "--discard-local-ssd=true")
    assert emulator.cloud.instances[2].status == "TERMINATED"
    emulator.cloud.unreachable_zones.add("europe-west4-a")
    assert "europe-west4-a" in gcloud("compute", "instances", "list", warnings=True)


def test_the_real_gcloud_sees_firewalls_regions_and_a_preemption(emulator: FaultyEmulator, gcloud: Gcloud) -> None:
    where = f"--zone={ZONE}"
    command = ("compute", "instances", "network-interfaces", "get-effective-firewalls", "demo-vm", where)
    assert "default-allow-ssh" in gcloud(*command, "--format=json")
    assert "default-allow-ssh" in gcloud("compute", "firewall-rules", "list")
    assert "us-east1" in gcloud("compute", "regions", "list")
    emulator.cloud.preempt("spot-vm")
    preempted = "--filter=operationType=compute.instances.preempted"
    listed = gcloud("compute", "operations", "list", preempted, f"--zones={ZONE}", "--format=value(targetId)")
    assert listed.split() == [emulator.cloud.instances[1].id]


def test_the_real_gcloud_creates_shows_snapshots_and_deletes(emulator: FaultyEmulator, gcloud: Gcloud) -> None:
    """``RECORD_GCLOUD=1`` writes its requests to the file that ``test_gcloud_requests.py`` sends."""
    found, printed = [], {}
    for command in gcloud_requests.COMMANDS:
        before = len(emulator.exchanges)
        printed[" ".join(command.split()[2:4])] = gcloud(*command.split()[1:])
        found.append(gcloud_requests.recorded(command, emulator, emulator.exchanges[before:]))
    assert "my-l4  us-central1-b  g2-standard-8" in printed["instances create"]
    assert "nvidia-l4" in printed["instances describe"]
    assert "us-east1-b" in printed["machine-types list"]
    assert "us-central1-b/disks/my-l4" in printed["snapshots list"]
    assert [each.vm.name for each in emulator.cloud.instances] == ["demo-vm", "spot-vm", "ssd-vm"]
    assert [snapshot.name for snapshot in emulator.cloud.snapshots] == ["copy"]
    if os.environ.get("RECORD_GCLOUD"):
        gcloud_requests.write(found)
    assert gcloud_requests.methods(found) == gcloud_requests.methods(gcloud_requests.read())


def test_the_real_gcloud_writes_metadata_of_instance_and_project(emulator: FaultyEmulator, gcloud: Gcloud) -> None:
    gcloud("compute", "instances", "add-metadata", "demo-vm", f"--zone={ZONE}", "--metadata=colour=blue")
    assert emulator.cloud.instances[0].metadata == {"enable-guest-attributes": "TRUE", "colour": "blue"}
    gcloud("compute", "project-info", "add-metadata", "--metadata=enable-oslogin=TRUE")
    assert emulator.cloud.project_metadata["demo"] == {"enable-oslogin": "TRUE"}


def test_the_real_gcloud_keeps_keys_in_os_login(emulator: FaultyEmulator, gcloud: Gcloud, tmp_path: Path) -> None:
    key = Keys().key_to_install(SshSettings(), {"HOME": str(tmp_path)}, lambda text: None)
    file = tmp_path / ".ssh" / "google_compute_engine.pub"
    gcloud("compute", "os-login", "ssh-keys", "add", f"--key-file={file}", "--ttl=1h")
    person = emulator.cloud.os_login.user(ME)
    ((name, kept),) = person.keys.items()
    assert " ".join(kept.key.split()[:2]) == key
    assert kept.expires_usec is not None
    assert 3000 < kept.expires_usec / 1e6 - time.time() < 3700
    assert name in gcloud("compute", "os-login", "ssh-keys", "list", "--format=json")
    gcloud("compute", "os-login", "ssh-keys", "remove", f"--key-file={file}")
    assert person.keys == {}


@pytest.mark.parametrize("os_login", [False, True], ids=["metadata", "OS Login"])
def test_a_whole_gcloud_compute_ssh_resolves_with_the_key_that_we_made(
    emulator: FaultyEmulator, gcloud: Gcloud, tmp_path: Path, *, os_login: bool
) -> None:
    instance = running(emulator)
    if os_login:
        instance.metadata["enable-oslogin"] = "TRUE"
    key = Keys().key_to_install(SshSettings(), {"HOME": str(tmp_path)}, lambda text: None)
    before = (tmp_path / ".ssh" / "google_compute_engine").read_bytes()
    said = shlex.split(gcloud("compute", "ssh", "demo-vm", f"--zone={ZONE}", "--dry-run"))
    assert str(tmp_path / ".ssh" / "google_compute_engine") in said
    assert f"HostKeyAlias=compute.{instance.id}" in said
    assert "StrictHostKeyChecking=yes" in said
    assert (tmp_path / ".ssh" / "google_compute_engine").read_bytes() == before
    user, _, address = next(word for word in said if "@" in word and not word.startswith("-")).partition("@")
    assert address == instance.nat_ip
    person = emulator.cloud.os_login.user(ME)
    if os_login:
        assert user == "me_example_com"
        assert [" ".join(kept.key.split()[:2]) for kept in person.keys.values()] == [key]
    else:
        assert person.keys == {}
