"""The chance that a VM can be created now, by ``advice.capacity``; Compute Engine does not know it for every type."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ...core.errors import RemoteRuntimeError
from ...core.machine_offers import MachineOffer
from ..client.rest import Json, RestApi, compute_path
from ..instances.convert import last_segment
from ..prices.shapes import dicts

MAX_OFFERS = 12  # each is a request or two
PARALLEL = 6
MODELS = ("STANDARD", "SPOT")


def with_obtainability(rest: RestApi, project: str, offers: Sequence[MachineOffer]) -> tuple[list[MachineOffer], str]:
    """``offers`` with their obtainability, and why some have none; empty if Compute Engine gave it for all."""
    refusals: list[str] = []

    def advised(offer: MachineOffer) -> MachineOffer:
        scores = {}
        for model in MODELS:
            try:
                scores[model] = _best_score(rest, project, offer, model)
            except RemoteRuntimeError as error:
                if error.code == "interrupted":
                    raise
                refusals.append(error.why or error.what)
        return replace(offer, obtainability=scores.get("STANDARD"), spot_obtainability=scores.get("SPOT"))

    with ThreadPoolExecutor(PARALLEL) as threads:
        found = list(threads.map(advised, offers))
    return found, refusals[0] if refusals else ""


def _best_score(rest: RestApi, project: str, offer: MachineOffer, model: str) -> float | None:
    """From 0 to 1; None without a recommendation."""
    path = compute_path("projects", project, "regions", offer.region, "advice", "capacity")
    answer = rest.post(path, _body(offer, model), doing=f"read the capacity advice for {offer.region}")
    scores = [each.get("scores") for each in dicts(answer.get("recommendations")) if _zones(each)]
    found = [score.get("obtainability") for score in scores if isinstance(score, dict)]
    return max((float(each) for each in found if isinstance(each, (int, float))), default=None)


def _zones(recommendation: Json) -> list[str]:
    return [last_segment(str(shard.get("zone"))) for shard in dicts(recommendation.get("shards"))]


def _body(offer: MachineOffer, model: str) -> Json:
    """One machine in any of the offer's zones."""
    selection: Json = {"machineTypes": [offer.machine_type]}
    if offer.is_attached:
        selection["guestAccelerators"] = [{"acceleratorType": offer.gpu, "acceleratorCount": offer.gpu_count}]
    return {
        "size": 1,
        "distributionPolicy": {
            "targetShape": "ANY_SINGLE_ZONE",
            "zones": [{"zone": f"zones/{zone}"} for zone in offer.zones],
        },
        "instanceFlexibilityPolicy": {"instanceSelections": {"wanted": selection}},
        "instanceProperties": {"scheduling": {"provisioningModel": model}},
    }
