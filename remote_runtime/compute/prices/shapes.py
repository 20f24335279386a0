"""What of a VM costs money, from Compute Engine's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..client.rest import Json
from ..instances.convert import last_segment
from .hourly import MachineShape


def machine_shape(machine_type: Json, attached: Mapping[str, int]) -> MachineShape | None:
    """``attached``: the VM's GPUs by type; where there are none, the machine type's own count. None for several types
    of GPUs, and for JSON that is no machine type."""
    own = {
        str(each.get("guestAcceleratorType")): number(each.get("guestAcceleratorCount"))
        for each in dicts(machine_type.get("accelerators"))
    }
    gpus = dict(attached) or own
    cpus, memory_mb = number(machine_type.get("guestCpus")), number(machine_type.get("memoryMb"))
    if len(gpus) > 1 or not cpus or not memory_mb:
        return None
    gpu, count = next(iter(gpus.items()), ("", 0))
    bundled = machine_type.get("bundledLocalSsds")
    local_ssds = number(bundled.get("partitionCount")) if isinstance(bundled, dict) else 0
    is_shared = machine_type.get("isSharedCpu") is True
    return MachineShape(last_segment(str(machine_type.get("name"))), cpus, memory_mb, gpu, count, local_ssds, is_shared)


def attached_gpus(raw: Json) -> dict[str, int]:
    """The GPUs of an instance by type."""
    return {
        last_segment(str(each.get("acceleratorType"))): number(each.get("acceleratorCount"))
        for each in dicts(raw.get("guestAccelerators"))
    }


def dicts(value: Any) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def number(value: Any) -> int:
    """A whole number, which 64-bit fields have as text; 0 for anything else."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
