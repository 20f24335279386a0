"""Asks Compute Engine in which zones of a region there is capacity: ``advice.capacity``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.creation import CreateSettings
from ...core.errors import CloudError, DeadlinePassed
from ..client.api import Api
from ..instances.convert import last_segment
from .resource import provisioning_model

SELECTION = "wanted"
ADVICE_TIMEOUT_S = 5.0


def obtainability(api: Api, region: str, zones: Sequence[str], settings: CreateSettings) -> dict[str, float]:
    """From 0 to 1 for each zone that Compute Engine recommends. Empty where it gives no advice: without the permission
    ``compute.advice.capacity``, for a machine type without advice, with an older google-cloud-compute."""
    from google.cloud import compute_v1

    kind: Any = getattr(compute_v1, "AdviceClient", None)
    if not hasattr(kind, "capacity"):
        api.progress(f"No capacity advice for {region}: google-cloud-compute is older than 1.54")
        return {}
    method = api.client(kind).capacity
    request = {"project": api.project, "region": region, "capacity_advice_request_resource": _body(zones, settings)}
    whole, api.deadline = api.deadline, api.deadline.within(ADVICE_TIMEOUT_S)
    try:
        answer = api.call(method, request, doing=f"read the capacity advice for {region}")
    except (CloudError, DeadlinePassed) as exc:  # the profile's order is as good
        api.progress(f"No capacity advice for {region}: {exc.why or exc.what}")
        return {}
    finally:
        api.deadline = whole
    scores: dict[str, float] = {}
    for recommendation in answer.recommendations:
        for shard in recommendation.shards:
            zone = last_segment(shard.zone)
            scores[zone] = max(scores.get(zone, 0.0), recommendation.scores.obtainability)
    return scores


def _body(zones: Sequence[str], settings: CreateSettings) -> dict[str, Any]:
    """One machine in any of ``zones``."""
    selection: dict[str, Any] = {"machine_types": [settings.machine_type]}
    if settings.gpu is not None:
        gpu = {"accelerator_type": settings.gpu.type, "accelerator_count": settings.gpu.count}
        selection["guest_accelerators"] = [gpu]
    return {
        "size": 1,
        "distribution_policy": {
            "target_shape": "ANY_SINGLE_ZONE",
            "zones": [{"zone": f"zones/{zone}"} for zone in zones],
        },
        "instance_flexibility_policy": {"instance_selections": {SELECTION: selection}},
        "instance_properties": {"scheduling": {"provisioning_model": provisioning_model(settings)}},
    }
