"""The other zones of a region in which an instance could run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...core.errors import CloudError, DeadlinePassed
from ...core.model import Instance
from ..client.api import Api
from . import search
from .convert import clean_name, unreachable_zones_in

MAX_SHOWN = 10


def zones_with_machine_type(api: Api, instance: Instance) -> tuple[str, list[str]]:
    """The instance's machine type (with its GPU), and the other zones of its region that offer it; no zones when they
    cannot be read."""
    from google.cloud import compute_v1

    try:
        raw = search.get(api, instance.name, instance.zone or "")
        kind = _last_segment(raw.machine_type)
        zones = _zones_offering(api, api.client(compute_v1.MachineTypesClient), "machine_types", kind)
        for accelerator in raw.guest_accelerators[:1]:
            gpu = _last_segment(accelerator.accelerator_type)
            zones &= _zones_offering(api, api.client(compute_v1.AcceleratorTypesClient), "accelerator_types", gpu)
            kind = f"{kind} with {gpu}"
    except (CloudError, DeadlinePassed) as exc:  # that it does not start is known, and told
        api.progress(f"Other zones cannot be read: {exc.what}")
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
                    offering.add(_last_segment(scope))
        return offering, missed

    method: Callable[..., tuple[set[str], set[str]]] = listed
    request = {"project": api.project, "filter": f'name = "{name}"'}
    offering, unreachable = api.call(method, request, doing=f"see which zones have {name}")
    if unreachable:
        raise CloudError("cloud-unreachable", f"Compute Engine does not answer for {', '.join(sorted(unreachable))}")
    return offering


def _last_segment(url: str) -> str:
    return clean_name(url.rsplit("/", 1)[-1])
