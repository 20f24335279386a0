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


def obtainability(api: Api, region: str, zones: Sequence[str], settings: CreateSettings) -> dict[str, float]:
    """From 0 to 1 for each zone that Compute Engine recommends. Empty where it gives no advice: without the permission
    ``compute.advice.capacity``, for a machine type without advice, with an older google-cloud-compute."""
    from google.cloud import compute_v1

    try:
        client: Any = api.client(compute_v1.AdviceClient)
        method = client.capacity
        request = {"project": api.project, "region": region, "capacity_advice_request_resource": _body(zones, settings)}
    except AttributeError:
        api.progress("No capacity advice: google-cloud-compute is too old")
        return {}
    try:
        answer = api.call(method, request, doing=f"read the capacity advice for {region}")
    except (CloudError, DeadlinePassed) as exc:  # the profile's order is as good
        api.progress(f"No capacity advice for {region}: {exc.why or exc.what}")
        return {}
    scores: dict[str, float] = {}
    for recommendation in answer.recommendations:
        for shard in recommendation.shards:
            zone = last_segment(shard.zone)
            scores[zone] = max(scores.get(zone, 0.0), recommendation.scores.obtainability)
    return scores


def _body(zones: Sequence[str], settings: CreateSettings) -> Any:
    """One machine in any of ``zones``."""
    from google.cloud import compute_v1

    selection = compute_v1.CapacityAdviceRequestInstanceFlexibilityPolicyInstanceSelection(
        machine_types=[settings.machine_type]
    )
    if settings.gpu is not None:
        accelerator = compute_v1.AcceleratorConfig(
            accelerator_type=settings.gpu.type, accelerator_count=settings.gpu.count
        )
        selection.guest_accelerators = [accelerator]
    wanted_zones = [
        compute_v1.CapacityAdviceRequestDistributionPolicyZoneConfiguration(zone=f"zones/{zone}") for zone in zones
    ]
    return compute_v1.CapacityAdviceRequest(
        size=1,
        distribution_policy=compute_v1.CapacityAdviceRequestDistributionPolicy(
            target_shape="ANY_SINGLE_ZONE", zones=wanted_zones
        ),
        instance_flexibility_policy=compute_v1.CapacityAdviceRequestInstanceFlexibilityPolicy(
            instance_selections={SELECTION: selection}
        ),
        instance_properties=compute_v1.CapacityAdviceRequestInstanceProperties(
            scheduling=compute_v1.CapacityAdviceRequestInstancePropertiesScheduling(
                provisioning_model=provisioning_model(settings)
            )
        ),
    )
