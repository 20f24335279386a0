"""The machine types that Compute Engine offers."""

from __future__ import annotations

from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class MachineOffer:
    """A machine type with its GPUs in a region. ``zones``: those that have it. ``price``, ``spot_price``: USD an hour,
    without disks; None if unknown. ``is_attached``: the GPUs are attached to a machine type without its own.
    ``obtainability``, ``spot_obtainability``: from 0 to 1, Compute Engine's estimate that one can be created now; None
    if it gives none."""

    machine_type: str
    cpus: int
    memory_gb: float
    gpu: str
    gpu_count: int
    region: str
    zones: tuple[str, ...]
    price: float | None = None
    spot_price: float | None = None
    is_attached: bool = False
    obtainability: float | None = None
    spot_obtainability: float | None = None


@fast_dataclass(frozen=True)
class MachineOffers:
    """``gpu_types``: all types of GPUs there are. ``notes``: what is missing, and why."""

    offers: tuple[MachineOffer, ...]
    gpu_types: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
