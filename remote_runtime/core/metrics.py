"""Measurements of a machine and of a tunnel."""

from __future__ import annotations

from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class GpuLoad:
    """Memory in bytes, ``busy`` from 0 to 1. None where the GPU reports none: in MIG mode, or without its own
    memory."""

    name: str
    memory_used: int | None
    memory_total: int | None
    busy: float | None


@fast_dataclass(frozen=True)
class MachineLoad:
    """Memory in bytes. ``seen``: when it was measured, ISO 8601."""

    memory_used: int
    memory_total: int
    gpus: tuple[GpuLoad, ...] = ()
    seen: str = ""


@fast_dataclass(frozen=True)
class Traffic:
    """Bytes through the local port, to the machine and back, without those of the keeper's own checks."""

    sent: int = 0
    received: int = 0


@fast_dataclass(frozen=True)
class Connections:
    """Connections to the local port, without the keeper's own checks. ``carried``: the client has sent something.
    ``empty``: it closed without sending a byte. ``waiting``: open, and nothing sent yet. ``tls``: it began as https
    does, and was closed. ``sent_away``: it was closed in favour of others. ``without_a_file``: closed because this
    process may not open more files."""

    carried: int = 0
    empty: int = 0
    waiting: int = 0
    tls: int = 0
    sent_away: int = 0
    without_a_file: int = 0
