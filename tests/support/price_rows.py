"""Rows of the Cloud Billing Catalog in the form of the real ones, at amounts of our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

IOWA, NETHERLANDS = "us-central1", "europe-west4"
HOUR, MEMORY_HOUR, DISK_MONTH = "h", "GiBy.h", "GiBy.mo"

# The description without the place, its unit, and what it costs in Iowa and in the Netherlands.
ON_DEMAND = {
    "G2 Instance Core": (HOUR, 0.025, 0.0275),
    "G2 Instance Ram": (MEMORY_HOUR, 0.003, 0.0032),
    "Nvidia L4 GPU": (HOUR, 0.56, 0.62),
    "A2 Instance Core": (HOUR, 0.03, 0.035),
    "A2 Instance Ram": (MEMORY_HOUR, 0.004, 0.0045),
    "Nvidia Tesla A100 GPU": (HOUR, 2.9, 3.2),
    "Nvidia Tesla A100 80GB GPU": (HOUR, 3.9, 4.3),
    "N1 Predefined Instance Core": (HOUR, 0.032, 0.034),
    "N1 Predefined Instance Ram": (MEMORY_HOUR, 0.004, 0.0046),
    "Nvidia Tesla T4 GPU": (HOUR, 0.35, 0.41),
    "E2 Instance Core": (HOUR, 0.02, 0.022),
    "E2 Instance Ram": (MEMORY_HOUR, 0.0025, 0.003),
}
SPOT = {
    "Spot Preemptible G2 Instance Core": (HOUR, 0.01, 0.012),
    "Spot Preemptible G2 Instance Ram": (MEMORY_HOUR, 0.001, 0.0015),
    "Nvidia L4 GPU attached to Spot Preemptible VMs": (HOUR, 0.22, 0.25),
    "Spot Preemptible N1 Predefined Instance Core": (HOUR, 0.007, 0.008),
    "Spot Preemptible N1 Predefined Instance Ram": (MEMORY_HOUR, 0.001, 0.0012),
    "Nvidia Tesla T4 GPU attached to Spot Preemptible VMs": (HOUR, 0.11, 0.13),
}
DISKS = {
    "Balanced PD Capacity": (0.1, 0.11),
    "SSD backed PD Capacity": (0.17, 0.187),
    "SSD backed Local Storage": (0.08, 0.088),
}
PLACES = {IOWA: "Iowa", NETHERLANDS: "Netherlands"}
# Rows of the real catalogue that are like those above, and no price of an ordinary VM.
VARIANTS = (
    ("G2 Custom Instance Core running in Iowa", "OnDemand", HOUR, 0.026),
    ("Sole Tenancy Instance Core running in Iowa", "OnDemand", HOUR, 0.02),
    ("Commitment v1: G2 Core running in Iowa for 1 Year", "Commit1Yr", HOUR, 0.015),
    ("Reserved Nvidia L4 GPU in Iowa", "OnDemand", HOUR, 0.0),
    ("Nvidia L4 GPU running in Iowa in Calendar Mode", "OnDemand", HOUR, 0.3),
    ("Nvidia L4 GPU attached to DWS Defined Duration VMs running in Iowa", "OnDemand", HOUR, 0.31),
    ("Nvidia L4 Virtual Workstation GPU running in Iowa", "OnDemand", HOUR, 0.76),
    ("Spot Preemptible G2 Instance Core running in Iowa", "OnDemand", HOUR, 0.01),  # its use and description disagree
    ("Regional Balanced PD Capacity in Iowa", "OnDemand", DISK_MONTH, 0.2),
    ("Balanced PD Capacity in Iowa", "OnDemand", "GiBy.h", 0.1),
)


def sku(
    description: str, use: str, unit: str, *amounts: float, regions: Sequence[str], currency: str = "USD"
) -> dict[str, Any]:
    """``amounts``: of the tiers, each after 30 units of usage."""
    rates = [
        {
            "startUsageAmount": 30 * tier,
            "unitPrice": {"currencyCode": currency, "units": str(int(amount)), "nanos": round(amount % 1 * 1e9)},
        }
        for tier, amount in enumerate(amounts)
    ]
    family = "Storage" if "PD Capacity" in description or "Local Storage" in description else "Compute"
    return {
        "name": "services/6F81-5844-456A/skus/0000-0000-0000",
        "skuId": "0000-0000-0000",
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": family,
            "resourceGroup": "GPU" if "GPU" in description else "RAM" if " Ram " in description else "CPU",
            "usageType": use,
        },
        "serviceRegions": list(regions),
        "pricingInfo": [
            {
                "summary": "",
                "pricingExpression": {
                    "usageUnit": unit,
                    "displayQuantity": 1,
                    "tieredRates": rates,
                },
                "currencyConversionRate": 1,
                "effectiveTime": "2026-11-01T07:00:00Z",
            }
        ],
        "serviceProviderName": "Google",
    }


def catalogue() -> list[dict[str, Any]]:
    """Two regions, with the variants of the first."""
    rows = []
    for use, parts in (("OnDemand", ON_DEMAND), ("Preemptible", SPOT)):
        for text, (unit, *amounts) in parts.items():
            for (region, place), amount in zip(PLACES.items(), amounts, strict=True):
                rows.append(sku(f"{text} running in {place}", use, unit, amount, regions=[region]))
    for text, prices in DISKS.items():
        for (region, place), amount in zip(PLACES.items(), prices, strict=True):
            rows.append(sku(f"{text} in {place}", "OnDemand", DISK_MONTH, amount, regions=[region]))
    rows.append(sku("Storage PD Capacity in Netherlands", "OnDemand", DISK_MONTH, 0.044, regions=[NETHERLANDS]))
    rows.append(sku("Storage PD Capacity", "OnDemand", DISK_MONTH, 0.0, 0.04, regions=[IOWA]))  # 30 GiB are free
    return rows + [sku(text, use, unit, amount, regions=[IOWA]) for text, use, unit, amount in VARIANTS[:-1]]
