"""A VM that `up` creates: what the profile asks for, the plan, and the cloud resources that come of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Literal

from .fast_dataclass import fast_dataclass
from .price import HourlyPrice

# Nothing without this label is ever deleted. Its value is the client id of the runtime.
CREATED_BY_LABEL = "remote-runtime-created-by"
DEFAULT_WAIT_S = 1800.0
IDLE_DEFAULT_S = 7200.0
# ``Instance.started_from`` of a VM that this `up` created: it boots for the first time.
STATUS_CREATED = "CREATED"

# Machine types with GPUs of their own: https://cloud.google.com/compute/docs/gpus
GPU_FAMILIES = ("a2", "a3", "a4", "a4x", "g2", "g4")

Provisioning = Literal["standard", "spot", "flex-start"]


@fast_dataclass(frozen=True)
class ImageSource:
    """An image by its family or by its name. ``project``: None for the VM's own."""

    family: str | None = None
    name: str | None = None
    project: str | None = None


@fast_dataclass(frozen=True)
class BootDisk:
    """``size_gb``: None for the image's own size."""

    size_gb: int | None = None
    type: str = "pd-balanced"


@fast_dataclass(frozen=True)
class GpuRequest:
    """``type``: Compute Engine's name, such as ``nvidia-tesla-t4``."""

    type: str
    count: int = 1


@fast_dataclass(frozen=True)
class CreateSettings:
    """``target.create``. ``gpu``: None where the machine type has its own, or none. ``wait_s``: how long Compute Engine
    waits for capacity with ``flex-start``. ``max_run_s``: after which it stops the VM; None for no limit.
    ``network``, ``subnet``: names or paths; None for the project's default. ``service_account``: an e-mail address or
    ``default``; None for none."""

    machine_type: str
    image: ImageSource
    gpu: GpuRequest | None = None
    boot_disk: BootDisk = BootDisk()
    provisioning: Provisioning = "standard"
    wait_s: float | None = None
    max_run_s: float | None = None
    external_address: bool = False
    network: str | None = None
    subnet: str | None = None
    service_account: str | None = None
    scopes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    keep_on_failure: bool = False

    @property
    def capacity_wait_s(self) -> float:
        """How long Compute Engine may wait for capacity; 0 where it answers at once."""
        return (self.wait_s or DEFAULT_WAIT_S) if self.provisioning == "flex-start" else 0.0


@fast_dataclass(frozen=True)
class CloudResource:
    """What remote-runtime made in a project, or is about to ask for. ``created_at``: ISO 8601, of the request.
    ``zone``: empty for a snapshot. ``id``: Compute Engine's, empty before it is known. ``created_by``: the value of
    its label. ``attached_to``: the instance that uses a disk, empty if unknown."""

    kind: Literal["instance", "disk", "snapshot"]
    name: str
    project: str
    zone: str
    created_at: str
    id: str = ""
    created_by: str = ""
    attached_to: str = ""


@fast_dataclass(frozen=True)
class PlannedZone:
    """A zone in which the VM may be created. ``why``: the reason for its place in the order. ``skip``: why it is not
    tried, empty where it is."""

    name: str
    why: str = ""
    skip: str = ""


@fast_dataclass(frozen=True)
class CreationPlan:
    """What will be created. ``zones``: in the order in which they are tried. ``image``: its link; ``image_name``: its
    name. ``machine``: the machine type in words, with cores, memory and GPUs where they are known. ``disk_gb``: of the
    boot disk. ``client_id``: the value of the label. ``notes``: what to know before it is confirmed. ``price``: in the
    first zone, None where it is not known."""

    instance: str
    project: str
    settings: CreateSettings
    zones: tuple[PlannedZone, ...]
    image: str
    image_name: str
    machine: str
    disk_gb: int
    client_id: str
    has_gpu: bool = False
    notes: tuple[str, ...] = ()
    price: HourlyPrice | None = None


@fast_dataclass(frozen=True)
class ZoneAttempt:
    """What happened in a zone. ``used``: an instance of this name that another client created is used. ``why``: the
    API's reason. ``remains``: the instance that failed could not be deleted."""

    zone: str
    result: Literal["created", "used", "no-capacity", "preempted", "quota", "no-machine-type", "failed", "not-tried"]
    why: str = ""
    remains: bool = False

    @property
    def text(self) -> str:
        words = {"used": "used: it exists there", "no-machine-type": "skipped"}.get(self.result)
        words = words or self.result.replace("-", " ")
        text = f"{words}: {self.why}" if self.why else words
        return f"{text}; it could not be deleted" if self.remains else text


def attempt_lines(attempts: Iterable[ZoneAttempt]) -> list[str]:
    """A table of zones, and what happened in each."""
    rows = list(attempts)
    width = max((len(each.zone) for each in rows), default=0)
    return [f"{each.zone:<{width}}  {each.text}" for each in rows]


def region_of(zone: str) -> str:
    return zone.rpartition("-")[0]
