"""Measurements of a machine and of a tunnel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class GpuLoad:
    """Memory in bytes, ``busy`` from 0 to 1. None where the GPU reports none: in MIG mode, or without its own
    memory. ``temperature_c``: in degrees Celsius, None if unknown."""

    name: str
    memory_used: int | None
    memory_total: int | None
    busy: float | None
    temperature_c: float | None = None


@fast_dataclass(frozen=True)
class DiskUsage:
    """Bytes of the file system that has ``path``. ``total``: what users can have of it."""

    path: str
    used: int
    total: int


@fast_dataclass(frozen=True)
class RecordedOutputs:
    """What kernels published while no client was there. ``requests``: that have outputs; ``size``: in bytes;
    ``paused``: why nothing is recorded on the machine's disk now, empty if it is."""

    requests: int
    size: int
    paused: str = ""


@fast_dataclass(frozen=True)
class KernelStatus:
    """``name``: the kernelspec's; ``path``: the notebook's, empty if unknown; ``last_activity``: ISO 8601 or empty."""

    id: str
    name: str
    path: str
    state: str
    last_activity: str


@fast_dataclass(frozen=True)
class MachineLoad:
    """Memory in bytes. ``seen``: when it was measured, ISO 8601. ``cpu``: the used share of all processors, 0 to 1;
    ``disk``: the fullest one; None if unknown. ``kernel_memory``: of each kernel that is known, by its id."""

    memory_used: int
    memory_total: int
    gpus: tuple[GpuLoad, ...] = ()
    seen: str = ""
    cpu: float | None = None
    disk: DiskUsage | None = None
    kernel_memory: Mapping[str, int] = field(default_factory=dict)


@fast_dataclass(frozen=True)
class Traffic:
    """Bytes through the local port, to the machine and back, without those of the keeper's own checks."""

    sent: int = 0
    received: int = 0


@fast_dataclass(frozen=True)
class StreamStatus:
    """Connections to Jupyter that outlive the SSH connection. ``waiting``: how many wait for it now, ``since``: ISO
    8601, empty if none does. ``reset``: how many could not be kept, in all; ``why``, ``at``: of the last one."""

    waiting: int = 0
    since: str = ""
    reset: int = 0
    why: str = ""
    at: str = ""


@fast_dataclass(frozen=True)
class Connections:
    """Connections to the local port, without the keeper's own checks. ``carried``: the client has sent something.
    ``empty``: it closed without sending a byte. ``waiting``: open, and nothing sent yet. ``tls``: it began as https
    does, and was closed. ``sent_away``: it was closed in favour of others. ``without_a_file``: closed because this
    process can't open more files."""

    carried: int = 0
    empty: int = 0
    waiting: int = 0
    tls: int = 0
    sent_away: int = 0
    without_a_file: int = 0
