"""The messages between this process and its worker, a JSON object a line, and the values that only these two exchange.

To the worker: a request, ``{"call": NAME, "arguments": [...], "options": {...}, "callbacks": [NAME, ...]}`` and its
deadline; then ``{"done": true}`` whenever a callback has returned.
From the worker: ``{"progress": TEXT}`` and ``{"callback": NAME, "argument": VALUE}``, any number of them, and last
``{"result": VALUE}`` or ``{"error": ERROR}``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any, Literal

from ..core.access import AccessGrant, InstalledKey, LoginAccess, LoginIdentity
from ..core.creation import (
    BootDisk,
    CloudResource,
    CreateSettings,
    CreationPlan,
    GpuRequest,
    ImageSource,
    PlannedZone,
    ZoneAttempt,
)
from ..core.errors import RemoteRuntimeError, from_dict
from ..core.fast_dataclass import fast_dataclass
from ..core.machine_offers import MachineOffer, MachineOffers
from ..core.model import AttachedDisk, CreationCheck, CreationResult, Finding, Instance
from ..core.move import MovedDisk, MovedSubnet, MovePlan
from ..core.price import HourlyPrice, PricePart
from ..core.profile import GceTarget

TIMEOUT_HINT = "Set a longer `timeouts.instance` in the profile, or pass `--timeout`"


@fast_dataclass(frozen=True)
class ProjectList:
    """``ids``: the projects that the credentials can list. ``default``: the one that a profile without a project uses,
    and ``source`` where that is set. ``why_none``: why the projects could not be listed, empty if they were."""

    ids: tuple[str, ...] = ()
    default: str = ""
    source: str = ""
    why_none: str = ""


@fast_dataclass(frozen=True)
class InstanceSummary:
    """One line of a list of instances. ``gpus``: as in ``2 nvidia-l4``, empty without one."""

    name: str
    zone: str
    status: str
    machine_type: str
    gpus: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@fast_dataclass(frozen=True)
class ReadyOptions:
    """``host_keys_within_s``: how long to wait for the host keys of a machine that has just started; those of the hosts
    in ``known_hosts`` (``compute.<id>``) are not waited for. ``login``: whose access is read."""

    connect: Literal["auto", "external", "internal", "iap"] = "auto"
    host_keys_within_s: float = 120.0
    known_hosts: Collection[str] = field(default_factory=tuple)
    login: LoginIdentity | None = None


_VALUES = (
    AccessGrant, AttachedDisk, BootDisk, CloudResource, CreateSettings, CreationCheck, CreationPlan, CreationResult,
    Finding, GceTarget, GpuRequest, HourlyPrice, ImageSource, InstalledKey, Instance, InstanceSummary, LoginAccess,
    LoginIdentity, MachineOffer, MachineOffers, MovedDisk, MovedSubnet, MovePlan, PlannedZone,
    PricePart, ProjectList, ReadyOptions, ZoneAttempt,
)  # fmt: skip
_CLASSES: Mapping[str, Any] = {each.__name__: each for each in _VALUES}
_CLASS = "$class"  # neither a field nor a label is called so


def encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, default=_document).encode() + b"\n"


def decode(line: bytes) -> Any:
    """Of a value's fields, every list becomes a tuple."""
    return json.loads(line, object_hook=_value)


def _document(value: object) -> Any:
    if isinstance(value, RemoteRuntimeError):
        return {_CLASS: "error", **value.as_dict()}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Collection):
        return list(value)
    return {_CLASS: type(value).__name__, **vars(value)}


def _value(document: dict[str, Any]) -> Any:
    name = document.pop(_CLASS, "")
    if not name:
        return document
    if name == "error":
        return from_dict(document)
    return _CLASSES[name](**{key: tuple(each) if isinstance(each, list) else each for key, each in document.items()})
