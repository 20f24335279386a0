"""A VM that moves to another zone because its own has no capacity: the plan, and the label of the new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from .creation import CreationPlan
from .fast_dataclass import fast_dataclass

# Of the new instance. While the old one does not run, the name of both means the new one.
MOVED_FROM_LABEL = "remote-runtime-moved-from"
SNAPSHOTS_S = 3600.0  # the first snapshot of a large disk takes many minutes
_SEPARATOR = "_"


@fast_dataclass(frozen=True)
class MovedDisk:
    """A disk that the new instance gets. ``snapshot``: the name of that of the old one. ``iops``, ``throughput``: those
    that are provisioned, else 0."""

    name: str
    size_gb: int
    type: str
    snapshot: str
    boot: bool = False
    auto_delete: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    iops: int = 0
    throughput: int = 0


@fast_dataclass(frozen=True)
class MovedSubnet:
    """``new``: the subnet in ``region`` that an interface in ``old`` gets; links."""

    region: str
    old: str
    new: str


@fast_dataclass(frozen=True)
class MovePlan:
    """``creation``: of the new instance; its image is the old boot disk. ``old_id``, ``old_zone``: the instance that
    moves. ``origin``: the zone in which it was before its first move. ``changes``: what is lost or different, in words.
    ``subnets``: in other regions than the old one."""

    creation: CreationPlan
    old_id: str
    old_zone: str
    origin: str
    disks: tuple[MovedDisk, ...]
    changes: tuple[str, ...] = ()
    subnets: tuple[MovedSubnet, ...] = ()

    @property
    def moved_from(self) -> str:
        """The value of ``MOVED_FROM_LABEL``."""
        return f"{self.origin}{_SEPARATOR}{self.old_id}"


def origin_in(moved_from: str) -> str:
    """The first zone of an instance with this value of ``MOVED_FROM_LABEL``."""
    return moved_from.partition(_SEPARATOR)[0]


def old_id_in(moved_from: str) -> str:
    """The id of the instance that it was made from."""
    return moved_from.partition(_SEPARATOR)[2]


@fast_dataclass(frozen=True)
class UpConsent:
    """What the user of an `up` agrees to in advance. ``yes``: no questions. ``move``: a VM that cannot start may move;
    ``delete_old``: and the old one be deleted then."""

    yes: bool = False
    move: bool = False
    delete_old: bool = False
