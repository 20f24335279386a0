"""Why a zone has no instance after ``instances.insert``: no capacity, no quota, no such machine type, or else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from ...core.creation import ZoneAttempt, attempt_lines, region_of
from ...core.errors import CloudError
from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line
from ..client import error_info, error_mapping

if TYPE_CHECKING:
    from google.cloud import compute_v1

Kind = Literal["no-capacity", "preempted", "quota", "no-machine-type", "failed"]
MAX_REASON_CHARS = 200
# https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-vm-creation
_NO_MACHINE_TYPE = re.compile(
    r"does not exist in zone|acceleratorTypes/\S+ was not found|acceleratorTypes/\S+'? ?(?:is )?not found"
    r"|[Uu]nknown zone|machineTypes/\S+ was not found|not available in zone"
)


@fast_dataclass(frozen=True)
class ZoneFailure:
    """``scope``: how far a quota reaches: its region, or ``global``; empty for what concerns the zone alone. ``error``:
    what is raised where this is the reason of the whole."""

    kind: Kind
    why: str
    error: CloudError
    scope: str = ""


def from_error(error: CloudError, zone: str) -> ZoneFailure | None:
    """What a refused request means for its zone; None for a refusal that other zones would repeat, such as a missing
    permission or an invalid value."""
    if error.code == "no-capacity":
        return ZoneFailure("no-capacity", _short(error.why), error)
    if error.code == "quota-exceeded":
        return ZoneFailure("quota", _short(error.why), error, quota_scope(error.why, zone))
    if _NO_MACHINE_TYPE.search(error.why):
        return ZoneFailure("no-machine-type", _short(error.why), error)
    return None


def from_operation(operation: compute_v1.Operation, zone: str, name: str, project: str) -> ZoneFailure | None:
    """Why a finished operation failed; None if it succeeded. Raises ``CloudError`` ``permission-denied``, which other
    zones would repeat."""
    errors = list(operation.error.errors)
    if not errors and operation.http_error_status_code < 400:
        return None
    codes = [clean_line(each.code, 80) for each in errors]
    message = clean_line(errors[0].message, error_info.MAX_WHY_CHARS) if errors else ""
    code = codes[0] if codes else clean_line(operation.http_error_message, 80)
    why = f"{code}: {message}" if message else code
    doing = f"create {name} in {zone}"
    if error_mapping.is_no_capacity(*codes, message):
        return ZoneFailure("no-capacity", code, error_mapping.no_capacity_error(doing, why))
    if any("QUOTA" in each or "LIMIT_EXCEEDED" in each for each in codes):
        error = error_mapping.quota_error(why, doing, project)
        return ZoneFailure("quota", _short(message or code), error, _scope_of_details(errors, zone, why))
    if any("PERMISSION" in each or "FORBIDDEN" in each for each in codes):
        raise error_info.permission_denied_error(error_info.parse_error(why), doing, project)
    error = CloudError("instance-not-created", f"Can't {doing}", why)
    return ZoneFailure("no-machine-type" if _NO_MACHINE_TYPE.search(message) else "failed", _short(why), error)


def whole_error(
    name: str, machine_type: str, errors: Sequence[CloudError], attempts: Sequence[ZoneAttempt]
) -> CloudError:
    """The error of all zones together, with a line for each. A missing capacity is its reason before others."""
    codes = ("no-capacity", "quota-exceeded", "instance-not-created")
    ranked = sorted(errors, key=lambda error: codes.index(error.code) if error.code in codes else len(codes))
    first = ranked[0] if ranked else CloudError("instance-not-created", "No zone was tried")
    what = f"Can't create {name}"
    if first.code == "no-capacity":
        zones = f"{len(errors)} zone{'' if len(errors) == 1 else 's'}"
        what = f"No capacity for {name} ({machine_type}) in {zones}"
    elif first.code == "quota-exceeded":
        what = f"Quota exceeded: can't create {name}"
    code = first.code if first.code in codes else "instance-not-created"
    return CloudError(code, what, "\n".join(attempt_lines(attempts)), first.hint)


def _scope_of_details(errors: Iterable[compute_v1.Errors], zone: str, why: str) -> str:
    """The dimensions of a quota say how far it reaches; else its sentence does."""
    for error in errors:
        for detail in error.error_details:
            dimensions = detail.quota_info.dimensions
            if "zone" in dimensions:
                return ""
            if "region" in dimensions:
                return clean_line(dimensions["region"], 63)
            if "global" in dimensions or (detail.quota_info.metric_name and not dimensions):
                return "global"
    return quota_scope(why, zone)


def quota_scope(why: str, zone: str) -> str:
    """How far the quota of an error reaches, as in ``ZoneFailure.scope``."""
    if "ALL_REGIONS" in why or re.search(r"\bglobally\b", why):
        return "global"
    if re.search(r"\bin zone\b", why):
        return ""
    found = re.search(r"\bin region ([a-z0-9-]{1,63})", why)
    return found[1] if found else region_of(zone)


def _short(why: str) -> str:
    return clean_line(why, MAX_REASON_CHARS)
