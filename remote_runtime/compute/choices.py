"""What a person chooses from, as values: this is all that the front door needs of ``inventory``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ..core.fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class ProjectList:
    """``ids``: those that the credentials see. ``default``: the one in use where a profile names none, and ``source``
    where that was found. ``why_none``: why they could not be listed, empty if they were."""

    ids: tuple[str, ...] = ()
    default: str = ""
    source: str = ""
    why_none: str = ""


@fast_dataclass(frozen=True)
class InstanceSummary:
    """An instance to choose. ``gpus``: as in ``2 nvidia-l4``, empty without one."""

    name: str
    zone: str
    status: str
    machine_type: str
    gpus: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
