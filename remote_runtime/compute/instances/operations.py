"""Starts, resumes, stops and suspends an instance by zone operations, waits for them, and explains their failures."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...core.errors import CloudError, DeadlinePassed
from ...core.model import Instance
from ...core.sanitize import clean_line
from ...core.shell_command import shell_command
from ..client import error_info
from ..client.api import Api
from ..client.error_mapping import NotReady, quota_error
from . import search
from .convert import NAME, gcloud_command, has_local_ssd, last_segment, unreachable_zones_in

if TYPE_CHECKING:
    from google.cloud import compute_v1

# The server answers `wait` after up to two minutes; progress is reported in between.
MAX_WAIT_S = 3.0
PAUSE_S = 0.3
MAX_SHOWN = 10
_METHODS = {"start": "start_unary", "resume": "resume_unary", "stop": "stop_unary", "suspend": "suspend_unary"}
_DISK = re.compile(r"/disks/([a-z][-a-z0-9]{0,62})'? was not found")
_ZONES = re.compile(r"[a-z]+-[a-z]+\d+-[a-z](?:, ?[a-z]+-[a-z]+\d+-[a-z])*")


def submit(api: Api, action: str, instance: Instance, raw: compute_v1.Instance) -> compute_v1.Operation:
    """Requests ``action``; a repeated request, after a lost response, has no second effect. Raises ``NotReady`` while
    another operation on the instance is under way.

    A stop must confirm that the data of a Local SSD is lost, which no stopped instance keeps; a suspend, that it is
    kept.
    """
    request = api.request_for(instance, request_id=str(uuid.uuid4()))
    if action in ("stop", "suspend") and has_local_ssd(raw):
        request["discard_local_ssd"] = action == "stop"
    method: Callable[..., compute_v1.Operation] = getattr(api.instances, _METHODS[action])
    return api.call(method, request, doing=f"{action} {instance.name}", until_ready=False)


def wait_until_done(
    api: Api, action: str, instance: Instance, operation: compute_v1.Operation, on_poll: Callable[[], None]
) -> None:
    """Returns when ``operation`` has succeeded; calls ``on_poll`` every few seconds until then. Raises ``CloudError``
    for a failed operation, and ``DeadlinePassed``."""
    operation = await_end(api, action, instance, operation, on_poll)
    if operation.error.errors or operation.http_error_status_code >= 400:
        raise operation_error(api, action, instance, operation)


def await_end(
    api: Api, action: str, instance: Instance, operation: compute_v1.Operation, on_poll: Callable[[], None]
) -> compute_v1.Operation:
    """The operation when it has succeeded or failed. Raises ``DeadlinePassed``."""
    from google.cloud import compute_v1

    while operation.status != compute_v1.Operation.Status.DONE:
        on_poll()
        if api.deadline.passed():
            what = f"The request to {action} {instance.name} took more than {api.deadline.timeout_s:.0f} s"
            raise DeadlinePassed(what, f"last: {api.last_message}" if api.last_message else "", api.timeout_hint)
        asked_at = time.monotonic()
        operation = _wait(api, action, instance, operation)
        if time.monotonic() - asked_at < PAUSE_S:
            api.deadline.sleep(PAUSE_S)
    return operation


def _wait(api: Api, action: str, instance: Instance, operation: compute_v1.Operation) -> compute_v1.Operation:
    """The operation when it is done, or its state a few seconds later. One on something without a zone is global."""
    import requests
    from google.cloud import compute_v1

    client: Any = api.operations if instance.zone else api.client(compute_v1.GlobalOperationsClient)

    def wait(*, request: dict[str, str], retry: None, timeout: float) -> compute_v1.Operation:
        try:
            method: Callable[..., compute_v1.Operation] = client.wait
            return method(request=request, retry=retry, timeout=min(timeout, MAX_WAIT_S))
        except requests.exceptions.ReadTimeout:
            return operation

    if not NAME.fullmatch(operation.name):
        what = f"{api.endpoint} is not the Compute Engine API"
        raise CloudError("cloud-unreachable", what, f"it returned an operation {clean_line(operation.name, 63)!r}")
    request = {"project": api.project, "operation": operation.name}
    request |= {"zone": instance.zone} if instance.zone else {}
    return api.call(wait, request, doing=f"check the request to {action} {instance.name}")


def operation_error(api: Api, action: str, instance: Instance, operation: compute_v1.Operation) -> CloudError:
    errors = list(operation.error.errors)
    codes = [clean_line(error.code, 80) for error in errors]
    code = codes[0] if codes else clean_line(operation.http_error_message, 80)
    message = clean_line(errors[0].message, error_info.MAX_WHY_CHARS) if errors else ""
    why = f"{code}: {message}" if message else code
    what = f"Compute Engine could not {action} {instance.name}"
    if any(code.startswith(("ZONE_RESOURCE_POOL_EXHAUSTED", "STOCKOUT")) for code in codes):
        what = f"Zone {instance.zone} has no capacity for {instance.name}"
        return CloudError("no-capacity", what, why, _other_zones(api, instance, operation))
    if any("QUOTA" in code or "LIMIT_EXCEEDED" in code for code in codes):
        return quota_error(why, f"{action} {instance.name}", api.project)
    if any(code == "RESOURCE_NOT_READY" for code in codes):
        return NotReady("instance-not-startable", what, why)
    if any("PERMISSION" in code for code in codes):
        return error_info.permission_denied_error(error_info.parse_error(why), f"{action} {instance.name}", api.project)
    gone = _DISK.search(message)
    if gone and any("NOT_FOUND" in code for code in codes):
        return _missing_disk_error(instance, what, why, gone.group(1))
    return CloudError("instance-not-startable", what, why)


def _other_zones(api: Api, instance: Instance, operation: compute_v1.Operation) -> str:
    """A hint: Google sometimes names zones with capacity; else the region's other zones may have some."""
    for error in operation.error.errors:
        for detail in error.error_details:
            zones_available = detail.error_info.metadatas.get("zonesAvailable", "")
            if _ZONES.fullmatch(zones_available):
                return f"Try again later. Zones with capacity: {zones_available}"
    kind, others = zones_with_machine_type(api, instance)
    if others:
        return f"Try again later. Zones of the region that have {kind}: {', '.join(others)}"
    if kind:
        return f"Try again later: no other zone of the region has {kind}"
    region = (instance.zone or "").rsplit("-", 1)[0]
    zones = shell_command("gcloud", "compute", "zones", "list", f"--filter=region:{region}", f"--project={api.project}")
    return f"Try again later. Other zones of the region: {zones}"


def _missing_disk_error(instance: Instance, what: str, why: str, disk: str) -> CloudError:
    found = f"its disk {disk} does not exist"
    restore = gcloud_command("disks", "create", replace(instance, name=disk), "--source-snapshot=SNAPSHOT")
    return CloudError("instance-not-startable", f"{what}: {found}", why, f"Restore it from a snapshot: {restore}")


def zones_with_machine_type(api: Api, instance: Instance) -> tuple[str, list[str]]:
    """The instance's machine type (with its GPU) and the other zones of its region that offer it; empty if they cannot
    be read."""
    from google.cloud import compute_v1

    try:
        raw = search.get(api, instance.name, instance.zone or "")
        kind = last_segment(raw.machine_type)
        zones = _zones_offering(api, api.client(compute_v1.MachineTypesClient), "machine_types", kind)
        for accelerator in raw.guest_accelerators[:1]:
            gpu = last_segment(accelerator.accelerator_type)
            zones &= _zones_offering(api, api.client(compute_v1.AcceleratorTypesClient), "accelerator_types", gpu)
            kind = f"{kind} with {gpu}"
    except (CloudError, DeadlinePassed) as exc:  # the error is that the instance does not start
        api.progress(f"Can't list other zones: {exc.what}")
        return "", []
    region = (instance.zone or "").rpartition("-")[0]
    others = sorted(zone for zone in zones if zone.rpartition("-")[0] == region and zone != instance.zone)
    return kind, others[:MAX_SHOWN]


def _zones_offering(api: Api, client: Any, what: str, name: str) -> set[str]:
    def listed(*, request: dict[str, Any], retry: None, timeout: float) -> tuple[set[str], set[str]]:
        offering, missed = set(), set()
        for page in client.aggregated_list(request=request, retry=retry, timeout=timeout).pages:
            missed |= unreachable_zones_in(page)
            for scope, found in page.items.items():
                if any(each.name == name for each in getattr(found, what)):
                    offering.add(last_segment(scope))
        return offering, missed

    method: Callable[..., tuple[set[str], set[str]]] = listed
    request = {"project": api.project, "filter": f'name = "{name}"'}
    offering, unreachable = api.call(method, request, doing=f"list the zones that have {name}")
    if unreachable:
        raise CloudError("cloud-unreachable", f"Compute Engine does not respond for {', '.join(sorted(unreachable))}")
    return offering
