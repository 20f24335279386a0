"""Finds out from its last operations why an instance is not running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.durations import duration_words
from ...core.errors import CloudError, DeadlinePassed
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Instance
from ...core.sanitize import clean_line
from ..client.api import Api
from .convert import parse_time

if TYPE_CHECKING:
    from google.cloud import compute_v1

PREEMPTED = "compute.instances.preempted"
# https://cloud.google.com/compute/docs/logging/audit-logging#system_event ; a person's requests have short names.
_DESCRIPTIONS = {
    PREEMPTED: "Compute Engine preempted it",
    "compute.instances.guestTerminate": "it was shut down from inside",
    "compute.instances.hostError": "its host failed",
    "compute.instances.terminateOnHostMaintenance": "its host needed maintenance",
    "compute.instances.scheduledStop": "an instance schedule stopped it",
    "stop": "{user} stopped it",
    "suspend": "{user} suspended it",
}
MAX_OPERATIONS = 500


@fast_dataclass(frozen=True)
class StopReason:
    """``preempted``: Compute Engine stopped a Spot VM. ``description``: what happened and when."""

    preempted: bool
    description: str


def stop_reason(api: Api, instance: Instance, raw: compute_v1.Instance | None = None) -> StopReason | None:
    """Why it stopped or was suspended last; None if unknown. ``raw``: the instance, which may have a maximum run time.
    Compute Engine keeps operations for two weeks or more
    (https://cloud.google.com/compute/docs/api/how-tos/api-requests-responses)."""

    def listed(*, request: dict[str, object], retry: None, timeout: float) -> list[compute_v1.Operation]:
        pages = api.operations.list(request=request, retry=retry, timeout=timeout)
        found: list[compute_v1.Operation] = []
        for operation in pages:
            found.append(operation)
            if len(found) == MAX_OPERATIONS:
                break
        return found

    request = {"project": api.project, "zone": instance.zone, "filter": f"targetId = {instance.id}"}
    try:
        operations = api.call(listed, request, doing=f"read what stopped {instance.name}")
    except (CloudError, DeadlinePassed) as exc:  # the error is that the instance is stopped
        api.progress(f"Can't read what stopped {instance.name}: {exc.why or exc.what}")
        return None
    stops = [
        each
        for each in operations
        if str(each.target_id) == instance.id and each.operation_type in _DESCRIPTIONS and not each.error.errors
    ]
    if not stops:
        return None
    last = max(stops, key=_inserted_at)
    template = _DESCRIPTIONS[last.operation_type].format(user=clean_line(last.user, 100) or "a user")
    max_run_s = int(raw.scheduling.max_run_duration.seconds) if raw is not None else 0
    if max_run_s and last.operation_type == "stop" and last.user.startswith("system"):
        template = f"Compute Engine stopped it after its maximum run time of {duration_words(max_run_s)}"
    when = parse_time(last.end_time) or parse_time(last.insert_time)
    description = f"{template} at {when.astimezone():%Y-%m-%d %H:%M %Z}" if when else template
    return StopReason(last.operation_type == PREEMPTED, description)


def _inserted_at(operation: compute_v1.Operation) -> float:
    moment = parse_time(operation.insert_time)
    return moment.timestamp() if moment else 0.0
