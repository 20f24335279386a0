"""What the emulated Google Cloud offers: zones, machine types, GPUs, images. A real one offers hundreds of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MachineType:
    """``gpu``: the type of the GPUs that it comes with, or empty."""

    name: str
    cpus: int
    memory_mb: int
    gpu: str = ""
    gpus: int = 0


@dataclass(frozen=True)
class Image:
    project: str
    name: str
    family: str
    size_gb: int


MACHINE_TYPES = {
    each.name: each
    for each in (
        MachineType("e2-standard-4", 4, 16384),
        MachineType("n1-standard-4", 4, 15360),
        MachineType("n1-standard-8", 8, 30720),
        MachineType("g2-standard-8", 8, 32768, "nvidia-l4", 1),
        MachineType("g2-standard-24", 24, 98304, "nvidia-l4", 2),
        MachineType("a2-highgpu-1g", 12, 87040, "nvidia-tesla-a100", 1),
        MachineType("a3-highgpu-1g", 26, 239616, "nvidia-h100-80gb", 1),
    )
}
ACCELERATOR_TYPES = {
    "nvidia-tesla-t4": "NVIDIA T4",
    "nvidia-l4": "NVIDIA L4",
    "nvidia-tesla-a100": "NVIDIA A100 40GB",
    "nvidia-h100-80gb": "NVIDIA H100 80GB",
}
_PLAIN = ("e2-standard-4", "n1-standard-4", "n1-standard-8")
_L4 = ("g2-standard-8", "g2-standard-24")
# zone → its machine types and the GPUs that can be attached or come with one
OFFERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "europe-west4-a": ((*_PLAIN, *_L4, "a2-highgpu-1g"), ("nvidia-l4", "nvidia-tesla-a100")),
    "europe-west4-b": ((*_PLAIN, *_L4, "a3-highgpu-1g"), ("nvidia-l4", "nvidia-tesla-t4", "nvidia-h100-80gb")),
    "us-central1-a": ((*_PLAIN, *_L4, "a2-highgpu-1g", "a3-highgpu-1g"), tuple(ACCELERATOR_TYPES)),
    "us-central1-b": ((*_PLAIN, *_L4), ("nvidia-l4", "nvidia-tesla-t4")),
    "us-central1-c": ((*_PLAIN, *_L4), ("nvidia-l4",)),
    "us-central1-f": (_PLAIN, ()),
    "us-east1-b": ((*_PLAIN, *_L4), ("nvidia-l4",)),
}
ZONES = tuple(OFFERS)
IMAGES = (
    Image(
        "deeplearning-platform-release",
        "pytorch-2-9-cu129-v20260110-ubuntu-2404-nvidia-580",
        "pytorch-2-9-cu129-ubuntu-2404-nvidia-580",
        50,
    ),
    Image(
        "deeplearning-platform-release",
        "common-cu129-v20260110-ubuntu-2404-nvidia-580",
        "common-cu129-ubuntu-2404-nvidia-580",
        50,
    ),
    Image("debian-cloud", "debian-12-bookworm-v20260114", "debian-12", 10),
    Image("ubuntu-os-cloud", "ubuntu-2404-noble-amd64-v20260114", "ubuntu-2404-lts-amd64", 10),
)
IMAGE_PROJECTS = frozenset(image.project for image in IMAGES)


def machine_types(zone: str) -> tuple[MachineType, ...]:
    return tuple(MACHINE_TYPES[name] for name in OFFERS.get(zone, ((), ()))[0])


def accelerator_types(zone: str) -> tuple[str, ...]:
    return OFFERS.get(zone, ((), ()))[1]


def region_of(zone: str) -> str:
    return zone.rpartition("-")[0]
