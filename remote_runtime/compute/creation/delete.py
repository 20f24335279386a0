"""Deletes what this client created, and nothing else: the label is read again before each deletion."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ...core.callbacks import Progress
from ...core.creation import CREATED_BY_LABEL, CloudResource
from ...core.deadline import Deadline
from ...core.errors import CloudError, RemoteRuntimeError
from ...core.model import Instance
from ..client.api import Api, open_api
from ..client.error_mapping import NotFound
from ..instances import operations, search

if TYPE_CHECKING:
    from google.cloud import compute_v1

Deletion = Literal["deleted", "gone", "foreign"]
# A request that was sent by a process that died shows within this time.
SETTLE_S, SENT_WITHIN_S = 3.0, 20.0
POLL_EVERY_S = 0.3

T = TypeVar("T")


def delete_resources(
    resources: Iterable[CloudResource],
    client_id: str,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> tuple[Deletion, ...]:
    """What became of each: ``gone`` did not exist, ``foreign`` does not have the label of this client and stays.

    Instances are deleted first, as they use their disks. All are tried; then the first ``CloudError`` or
    ``DeadlinePassed`` is raised.
    """
    given, ends = list(resources), dict[CloudResource, Deletion]()
    failure: RemoteRuntimeError | None = None
    for resource in sorted(given, key=lambda each: ("instance", "disk", "snapshot").index(each.kind)):
        api = open_api(environ, progress=progress, deadline=deadline, project=resource.project)
        try:
            ends[resource] = delete_resource(api, resource, client_id)
        except CloudError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return tuple(ends[each] for each in given)


def delete_instance(api: Api, name: str, zone: str, client_id: str, *, settle_s: float = 0.0) -> Deletion:
    """Returns when the instance no longer exists. ``settle_s``: how long one that does not exist may still appear.
    Raises ``CloudError``, ``DeadlinePassed``."""
    raw = _find(api, name, zone, settle_s)
    if raw is None:
        return "gone"
    if raw.labels.get(CREATED_BY_LABEL) != client_id:
        return "foreign"
    api.progress(f"Deleting {name} in {zone}")
    instance = Instance(kind="gce", name=name, zone=zone, project=api.project)
    request = api.request_for(instance, request_id=str(uuid.uuid4()))
    started_at = time.monotonic()
    try:
        operation = api.call(api.instances.delete_unary, request, doing=f"delete {name} in {zone}")
    except NotFound:  # by itself: Compute Engine removes what it could not create
        return "gone"

    def report() -> None:
        waited_s = time.monotonic() - started_at
        if waited_s >= 1:
            api.progress(f"Deleting {name} in {zone}, {waited_s:.0f} s")

    operation = operations.await_end(api, "delete", instance, operation, report)
    if operation.error.errors or operation.http_error_status_code >= 400:
        if _find(api, name, zone, 0.0) is None:
            return "gone"
        raise operations.operation_error(api, "delete", instance, operation)
    return "deleted"


def _find(api: Api, name: str, zone: str, settle_s: float) -> compute_v1.Instance | None:
    return _settled(lambda: search.get(api, name, zone), api, settle_s)


def _settled(get: Callable[[], T], api: Api, settle_s: float) -> T | None:
    """What ``get`` returns; None if it does not exist, and does not appear within ``settle_s``."""
    until = time.monotonic() + settle_s
    while True:
        try:
            return get()
        except NotFound:
            if time.monotonic() >= until:
                return None
        api.deadline.sleep(POLL_EVERY_S)


def delete_resource(api: Api, resource: CloudResource, client_id: str) -> Deletion:
    """As ``delete_instance``. Raises ``CloudError`` also for a disk in use."""
    from google.cloud import compute_v1

    if resource.kind == "instance":
        return delete_instance(api, resource.name, resource.zone, client_id, settle_s=_settle_s(resource))
    kind, name = resource.kind, resource.name
    client: Any = api.client(compute_v1.DisksClient if kind == "disk" else compute_v1.SnapshotsClient)
    request = {"project": api.project, kind: name} | ({"zone": resource.zone} if resource.zone else {})
    raw = _settled(lambda: api.call(client.get, request, doing=f"read the {kind} {name}"), api, _settle_s(resource))
    if raw is None:
        return "gone"
    if raw.labels.get(CREATED_BY_LABEL) != client_id:
        return "foreign"
    api.progress(f"Deleting the {kind} {name}")
    try:
        with_id = {**request, "request_id": str(uuid.uuid4())}
        operation = api.call(client.delete_unary, with_id, doing=f"delete the {kind} {name}")
    except NotFound:
        return "gone"
    owner = Instance(kind="gce", name=name, zone=resource.zone, project=api.project)
    operations.wait_until_done(api, "delete", owner, operation, lambda: None)
    return "deleted"


def _settle_s(resource: CloudResource) -> float:
    """How long a resource that does not exist may still appear."""
    age_s = (datetime.now(timezone.utc) - datetime.fromisoformat(resource.created_at)).total_seconds()
    return SETTLE_S if age_s < SENT_WITHIN_S else 0.0
