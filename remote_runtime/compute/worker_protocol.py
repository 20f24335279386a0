"""What goes between the front door and its child process, as JSON objects.

To the child: one line with the order, then ``{"recorded": true}`` for each ``started`` and ``adding``.
From the child, a line each: ``{"tell": TEXT}``, ``{"started": INSTANCE}``, ``{"adding": KEY}``, and last
``{"result": ANSWER}`` or ``{"error": ERROR}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from typing import Any

from ..core.access import AccessGrant, LoginIdentity, access_from_document, keys_from_documents
from ..core.errors import RemoteRuntimeError, from_dict
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance
from ..core.profile import GceTarget

Json = Mapping[str, Any]


def from_target(target: GceTarget) -> Json:
    return {**asdict(target), "labels": dict(target.labels)}


def to_target(order: Json) -> GceTarget:
    return GceTarget(**order)


def from_instance(instance: Instance) -> Json:
    return asdict(instance)


def to_instance(answer: Any) -> Instance:
    access = access_from_document(answer.get("access"))
    return Instance(**{**answer, "host_keys": tuple(answer["host_keys"]), "access": access})


def to_who(order: Any) -> LoginIdentity | None:
    return LoginIdentity(**{**order, "keys": tuple(order["keys"])}) if order else None


def to_admission(answer: Any) -> AccessGrant:
    (access, added) = (
        access_from_document(answer["access"]),
        keys_from_documents([answer["added"]] if answer["added"] else []),
    )
    if access is None:
        raise ValueError("an admission says who is let in")
    return AccessGrant(access, added[0] if added else None)


def from_errors(errors: Iterable[RemoteRuntimeError]) -> list[Json]:
    return [error.as_dict() for error in errors]


def to_errors(answer: Any) -> tuple[RemoteRuntimeError, ...]:
    return tuple(from_dict(each) for each in answer)


def to_projects(answer: Any) -> ProjectList:
    return ProjectList(**{**answer, "ids": tuple(answer["ids"])})


def to_candidates(answer: Any) -> list[InstanceSummary]:
    return [InstanceSummary(**each) for each in answer]


def to_status(answer: Any) -> str:
    return str(answer)


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
