"""What a machine and a tunnel are doing, in numbers."""

from __future__ import annotations

from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class GpuLoad:
    """Bytes; ``busy`` from 0 to 1. None for what the GPU does not tell: in MIG mode, or without memory of its own."""

    name: str
    memory_used: int | None
    memory_total: int | None
    busy: float | None


@fast_dataclass(frozen=True)
class MachineLoad:
    """Bytes of memory that programs have and could have, and the GPUs there are. ``seen``: ISO 8601, when."""

    memory_used: int
    memory_total: int
    gpus: tuple[GpuLoad, ...] = ()
    seen: str = ""


@fast_dataclass(frozen=True)
class Traffic:
    """Bytes that the local port has carried to the machine and back, the keeper's own left out."""

    sent: int = 0
    received: int = 0


@fast_dataclass(frozen=True)
class Connections:
    """Connections to the local port, the keeper's own checks left out. ``carried``: their client has said something.
    ``empty``: they ended without a byte of it. ``waiting``: open, and nothing was heard of them yet. ``tls``: they
    began as https does, and were closed. ``sent_away``: they gave room to others; ``without_a_file``: this process may
    not open enough files to keep them."""

    carried: int = 0
    empty: int = 0
    waiting: int = 0
    tls: int = 0
    sent_away: int = 0
    without_a_file: int = 0
