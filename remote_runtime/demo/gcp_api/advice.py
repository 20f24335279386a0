"""``advice``: in which zones there is capacity, and what Spot VMs cost."""

from __future__ import annotations

from . import offers
from .api_errors import invalid
from .creation import last_segment
from .operations import BASE
from .request import Call
from .state import Cloud
from .values import Json

OBTAINABILITY = 0.7
SPOT_UPTIME_S = 21600


def capacity(cloud: Cloud, call: Call) -> Json:
    """One recommendation, with a shard for each zone that is as good as the best."""
    body = call.body or {}
    selections = body.get("instanceFlexibilityPolicy", {}).get("instanceSelections", {})
    wanted = [name for selection in selections.values() for name in selection.get("machineTypes", [])]
    policy = body.get("distributionPolicy", {})
    zones = [last_segment(each["zone"]) for each in policy.get("zones", [])] or _zones(call.names["region"])
    found = [
        (cloud.obtainability.get(zone, OBTAINABILITY), zone, name)
        for zone in zones
        for name in wanted
        if name in [offered.name for offered in offers.machine_types(zone)]
    ]
    if not found:
        raise invalid("Invalid value for field 'instanceFlexibilityPolicy': ''. No zone has the machine types.")
    model = body.get("instanceProperties", {}).get("scheduling", {}).get("provisioningModel", "STANDARD")
    best = max(score for score, _, _ in found)
    shards = [
        {
            "zone": f"{BASE}projects/{call.project}/zones/{zone}",
            "machineType": name,
            "instanceCount": body.get("size", 1),
            "provisioningModel": model,
        }
        for score, zone, name in found
        if score == best
    ]
    scores: Json = {"obtainability": best}
    if model == "SPOT":
        scores["estimatedUptime"] = f"{SPOT_UPTIME_S}s"
    single = policy.get("targetShape") == "ANY_SINGLE_ZONE"
    return {"recommendations": [{"scores": scores, "shards": shards[:1] if single else shards}]}


def capacity_history(cloud: Cloud, call: Call) -> Json:
    """The price of a Spot VM, which is constant; ``cloud.spot_prices``: (region, machine type) → USD an hour."""
    body = call.body or {}
    properties = body.get("instanceProperties", {})
    if properties.get("scheduling", {}).get("provisioningModel") != "SPOT":
        raise invalid(
            "Invalid value for field 'instanceProperties.scheduling.provisioningModel': ''. It has to be SPOT."
        )
    region, name = call.names["region"], properties.get("machineType", "")
    location = body.get("locationPolicy", {}).get("location", f"projects/{call.project}/regions/{region}")
    answer: Json = {"location": location, "machineType": name}
    price = cloud.spot_prices.get((region, name))
    if "PRICE" in body.get("types", []) and price is not None:
        money = {"currencyCode": "USD", "units": str(int(price)), "nanos": round(price % 1 * 1e9)}
        interval = {"startTime": "2026-11-01T00:00:00Z", "endTime": "2026-12-01T00:00:00Z"}
        answer["priceHistory"] = [{"interval": interval, "listPrice": money}]
    return answer


def _zones(region: str) -> list[str]:
    return [zone for zone in offers.ZONES if offers.region_of(zone) == region]
