"""One instance: its state, and how the API shows it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence

from .disks import EmulatedDisk
from .offers import region_of
from .operations import BASE, new_id, timestamp
from .values import Json, Vm


class EmulatedInstance:
    """The live state of a ``Vm``, guarded by the cloud's lock. ``guest_lock``: taken while the guest boots or stops.

    ``parts``: properties of the resource that the request to create it says. ``valid_for_s``: how long a FLEX_START
    waits for capacity. ``ends_at``: when ``maxRunDuration`` ends, or empty.
    """

    def __init__(self, vm: Vm, parts: Json, *, valid_for_s: float = 0.0) -> None:
        self.vm = vm
        self.parts = parts
        self.valid_for_s = valid_for_s
        self.deleting = False
        self.ends_at = ""
        self.id = new_id()
        self.status = vm.status
        self.created = timestamp()
        self.last_start = self.last_stop = self.last_suspended = ""
        self.metadata = dict(vm.metadata)
        self.guest_attributes: dict[str, str] = {}
        self.nat_ip = ""
        self.boot_count = 0
        self.guest_lock = threading.Lock()
        self._fingerprint_salt = secrets.token_bytes(8)
        self._nat_ips = _ephemeral_addresses()
        if vm.status not in ("TERMINATED", "STOPPED", "SUSPENDED"):
            self.assign_address()

    @property
    def resource(self) -> str:
        return f"projects/{self.vm.project}/zones/{self.vm.zone}/instances/{self.vm.name}"

    @property
    def is_flex_start(self) -> bool:
        return bool(self.parts["scheduling"]["provisioningModel"] == "FLEX_START")

    @property
    def max_run_s(self) -> int:
        return int(self.parts["scheduling"].get("maxRunDuration", {}).get("seconds", 0))

    def assign_address(self) -> None:
        """Assigns the external address."""
        if self.vm.external:
            self.nat_ip = self.vm.address or next(self._nat_ips)

    def release_address(self) -> None:
        self.nat_ip = ""

    def metadata_fingerprint(self) -> str:
        return metadata_fingerprint(self.metadata, self._fingerprint_salt)

    def as_json(self) -> Json:
        vm = self.vm
        project_url = f"{BASE}projects/{vm.project}/"
        zone_url = f"{project_url}zones/{vm.zone}"
        answer: Json = {
            "kind": "compute#instance",
            "id": self.id,
            "creationTimestamp": self.created,
            "name": vm.name,
            "machineType": f"{zone_url}/machineTypes/{vm.machine_type}",
            "status": self.status,
            "zone": zone_url,
            "canIpForward": False,
            "networkInterfaces": [self._network_interface(project_url)],
            "metadata": metadata_as_json(self.metadata, self.metadata_fingerprint()),
            "selfLink": BASE + self.resource,
            "cpuPlatform": "Intel Broadwell" if self.status == "RUNNING" else "Unknown CPU Platform",
            "labelFingerprint": "42WmSpB8rSM=",
            "startRestricted": False,
            "fingerprint": "BXJ4dBnVhvM=",
        }
        answer |= self.parts
        answer |= {"labels": dict(vm.labels)} if vm.labels else {}
        answer |= {"lastStartTimestamp": self.last_start} if self.last_start else {}
        answer |= {"lastStopTimestamp": self.last_stop} if self.last_stop else {}
        answer |= {"lastSuspendedTimestamp": self.last_suspended} if self.last_suspended else {}
        answer |= {"resourceStatus": {"scheduling": {"terminationTimestamp": self.ends_at}}} if self.ends_at else {}
        return answer

    def _network_interface(self, project_url: str) -> Json:
        region = region_of(self.vm.zone)
        interface: Json = {
            "kind": "compute#networkInterface",
            "network": f"{project_url}global/networks/{self.vm.network}",
            "subnetwork": f"{project_url}regions/{region}/subnetworks/{self.vm.subnetwork}",
            "networkIP": self.vm.internal or f"10.128.0.{2 + int(self.id) % 250}",
            "name": "nic0",
            "fingerprint": "4VwkFvUUNu0=",
            "stackType": "IPV4_IPV6" if self.vm.external_ipv6 else "IPV4_ONLY",
        }
        if self.vm.external:
            access = {"kind": "compute#accessConfig", "type": "ONE_TO_ONE_NAT", "name": "External NAT"}
            access |= {"natIP": self.nat_ip} if self.nat_ip else {}
            interface["accessConfigs"] = [access | {"networkTier": "PREMIUM"}]
        if self.vm.external_ipv6:
            interface["ipv6AccessConfigs"] = [
                {
                    "kind": "compute#accessConfig",
                    "type": "DIRECT_IPV6",
                    "name": "external-ipv6",
                    "externalIpv6": self.vm.external_ipv6,
                    "externalIpv6PrefixLength": 96,
                    "networkTier": "PREMIUM",
                }
            ]
        return interface


def metadata_fingerprint(metadata: Mapping[str, str], salt: bytes = b"") -> str:
    return base64.b64encode(hashlib.sha256(salt + json.dumps(metadata).encode()).digest()[:8]).decode()


def metadata_as_json(metadata: Mapping[str, str], fingerprint: str) -> Json:
    """``items`` is absent when there are none, as from the real API."""
    answer: Json = {"kind": "compute#metadata", "fingerprint": fingerprint}
    if metadata:
        answer["items"] = [{"key": key, "value": value} for key, value in metadata.items()]
    return answer


def default_parts(vm: Vm, disks: Sequence[EmulatedDisk]) -> Json:
    """Of an instance that exists when the emulator starts. ``disks``: the boot disk, and others."""
    boot = {"boot": True, "autoDelete": True, "deviceName": vm.name}
    zone_url = f"{BASE}projects/{vm.project}/zones/{vm.zone}"
    parts: Json = {
        "description": "",
        "tags": {"fingerprint": "42WmSpB8rSM="},
        "scheduling": _scheduling(spot=vm.spot),
        "disks": [
            *(disk.attachment({} if index else boot, index) for index, disk in enumerate(disks)),
            *(_local_ssd(number, len(disks) + number) for number in range(vm.local_ssds)),
        ],
        "deletionProtection": False,
    }
    if vm.accelerator:
        kind = f"{zone_url}/acceleratorTypes/{vm.accelerator}"
        parts["guestAccelerators"] = [{"acceleratorType": kind, "acceleratorCount": 1}]
    if vm.service_account:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        parts["serviceAccounts"] = [{"email": vm.service_account, "scopes": scopes}]
    return parts


def _scheduling(*, spot: bool) -> Json:
    common = {
        "onHostMaintenance": "TERMINATE" if spot else "MIGRATE",
        "automaticRestart": not spot,
        "preemptible": spot,
        "provisioningModel": "SPOT" if spot else "STANDARD",
    }
    return common | ({"instanceTerminationAction": "STOP"} if spot else {})


def _local_ssd(number: int, index: int) -> Json:
    return {
        "kind": "compute#attachedDisk",
        "type": "SCRATCH",
        "mode": "READ_WRITE",
        "deviceName": f"local-ssd-{number}",
        "index": index,
        "boot": False,
        "autoDelete": True,
        "interface": "NVME",
        "diskSizeGb": "375",
    }


def _ephemeral_addresses() -> Iterator[str]:
    """Addresses of 203.0.113.0/24, reserved for documentation by RFC 5737: they have no hosts."""
    host = secrets.randbelow(254)
    while True:
        host = host % 254 + 1
        yield f"203.0.113.{host}"
