"""What goes between the front door and its child process, as JSON objects.

To the child: one line with the order, then ``{"recorded": true}`` for each ``started`` and ``adding``.
From the child, a line each: ``{"tell": TEXT}``, ``{"started": INSTANCE}``, ``{"adding": KEY}``, and last
``{"result": ANSWER}`` or ``{"error": ERROR}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ..core.access import AccessGrant, LoginIdentity, access_from_document, keys_from_documents
from ..core.errors import RemoteRuntimeError, from_dict
from ..core.model import Instance
from ..core.profile import GceTarget
from .choices import InstanceSummary, ProjectList

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
