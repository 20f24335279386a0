"""Persistent disks, their snapshots, and the images that they are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .offers import IMAGES, Image
from .operations import BASE, new_id, timestamp
from .values import Json

CREATED = "2026-01-14T10:00:00.000-08:00"


@dataclass
class EmulatedDisk:
    """``source``: the image or snapshot that it was made from (``projects/P/global/images/I``), or empty.
    ``content``: equal for disks with the same files on them: the id of the first one."""

    project: str
    zone: str
    name: str
    size_gb: int = 100
    type: str = "pd-standard"
    source: str = ""
    content: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id())
    created: str = field(default_factory=lambda: timestamp())
    status: str = "READY"

    def __post_init__(self) -> None:
        self.content = self.content or self.id

    @property
    def resource(self) -> str:
        return f"projects/{self.project}/zones/{self.zone}/disks/{self.name}"

    @property
    def url(self) -> str:
        return BASE + self.resource

    def attachment(self, given: Json, index: int) -> Json:
        """How an instance shows it; ``given``: its entry in the request."""
        return {
            "kind": "compute#attachedDisk",
            "type": "PERSISTENT",
            "mode": given.get("mode", "READ_WRITE"),
            "source": self.url,
            "deviceName": given.get("deviceName") or f"persistent-disk-{index}",
            "index": index,
            "boot": given.get("boot", False),
            "autoDelete": given.get("autoDelete", False),
            "interface": given.get("interface", "SCSI"),
            "diskSizeGb": str(self.size_gb),
        }

    def as_json(self, users: Sequence[str]) -> Json:
        """``users``: the instances that it is attached to."""
        zone_url = f"{BASE}projects/{self.project}/zones/{self.zone}"
        answer: Json = {
            "kind": "compute#disk",
            "id": self.id,
            "creationTimestamp": self.created,
            "name": self.name,
            "sizeGb": str(self.size_gb),
            "zone": zone_url,
            "status": self.status,
            "type": f"{zone_url}/diskTypes/{self.type}",
            "labelFingerprint": "42WmSpB8rSM=",
            "physicalBlockSizeBytes": "4096",
            "selfLink": self.url,
        }
        answer |= {"labels": dict(self.labels)} if self.labels else {}
        answer |= {"users": [BASE + user for user in users]} if users else {}
        if self.source:
            answer["sourceSnapshot" if "/snapshots/" in self.source else "sourceImage"] = BASE + self.source
        return answer


@dataclass
class EmulatedSnapshot:
    """What was on ``disk`` when it was made."""

    project: str
    name: str
    disk: EmulatedDisk
    labels: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id())
    created: str = field(default_factory=lambda: timestamp())
    status: str = "CREATING"

    @property
    def resource(self) -> str:
        return f"projects/{self.project}/global/snapshots/{self.name}"

    def as_json(self) -> Json:
        answer: Json = {
            "kind": "compute#snapshot",
            "id": self.id,
            "creationTimestamp": self.created,
            "name": self.name,
            "status": self.status,
            "sourceDisk": self.disk.url,
            "sourceDiskId": self.disk.id,
            "diskSizeGb": str(self.disk.size_gb),
            "storageBytes": str(self.disk.size_gb * 2**27),
            "storageBytesStatus": "UP_TO_DATE",
            "storageLocations": [self.disk.zone.partition("-")[0]],
            "labelFingerprint": "42WmSpB8rSM=",
            "snapshotType": "STANDARD",
            "selfLink": BASE + self.resource,
        }
        return answer | ({"labels": dict(self.labels)} if self.labels else {})


def find_image(project: str, name: str, family: str = "") -> Image | None:
    """The image of that name, or the newest one of ``family``."""
    named = [
        image
        for image in IMAGES
        if image.project == project and (image.family if family else image.name) == (family or name)
    ]
    return named[0] if named else None


def image_resource(image: Image) -> str:
    return f"projects/{image.project}/global/images/{image.name}"


def image_as_json(image: Image) -> Json:
    return {
        "kind": "compute#image",
        "id": str(2**60 + sum(image.name.encode())),
        "creationTimestamp": CREATED,
        "name": image.name,
        "description": "",
        "family": image.family,
        "sourceType": "RAW",
        "status": "READY",
        "archiveSizeBytes": str(image.size_gb * 2**28),
        "diskSizeGb": str(image.size_gb),
        "architecture": "X86_64",
        "licenses": [f"{BASE}projects/{image.project}/global/licenses/{image.family}"],
        "selfLink": BASE + image_resource(image),
    }
