"""The rows of the Cloud Billing Catalog that price a VM, recognized by their whole description.

The catalogue has no field for the machine series or the GPU: they are in the description alone, beside variants of
another price (``Custom``, ``Sole Tenancy``, ``Reserved …``, ``… in Calendar Mode``, ``Commitment …``). A row is taken
only if nothing else is in its description, and if its kind of use and its unit agree.
https://cloud.google.com/billing/docs/reference/rest/v1/services.skus/list
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...core.fast_dataclass import fast_dataclass

CURRENCY = "USD"
STANDARD, SPOT = "OnDemand", "Preemptible"  # the catalogue's names of the two ways to use a VM
# The machine series, as descriptions name them.
SERIES = {
    "A2 Instance": "a2", "A3 Instance": "a3-highgpu", "A3Plus Instance": "a3-megagpu",
    "A3Ultra Instance": "a3-ultragpu", "G2 Instance": "g2", "G4 Instance": "g4", "N1 Predefined Instance": "n1",
    "N2 Instance": "n2", "N2D AMD Instance": "n2d", "N4 Instance": "n4", "E2 Instance": "e2",
    "C2D AMD Instance": "c2d", "C3 Instance": "c3", "C3D Instance": "c3d", "C4 Instance": "c4",
    "C4A Arm Instance": "c4a", "C4D Instance": "c4d", "T2A Arm Instance": "t2a", "T2D AMD Instance": "t2d",
    "Compute optimized": "c2", "Compute optimized Instance": "c2",
}  # fmt: skip
# The types of GPUs, by the beginning of their description in lower case: it is written in both ways.
GPUS = {
    "nvidia l4 gpu": "nvidia-l4",
    "nvidia tesla t4 gpu": "nvidia-tesla-t4",
    "nvidia tesla p4 gpu": "nvidia-tesla-p4",
    "nvidia tesla p100 gpu": "nvidia-tesla-p100",
    "nvidia tesla v100 gpu": "nvidia-tesla-v100",
    "nvidia tesla a100 gpu": "nvidia-tesla-a100",
    "nvidia tesla a100 80gb gpu": "nvidia-a100-80gb",
    "nvidia h100 80gb gpu": "nvidia-h100-80gb",
    "nvidia h100 80gb mega gpu": "nvidia-h100-mega-80gb",
    "nvidia h100 80gb plus gpu": "nvidia-h100-mega-80gb",
    "nvidia h100 mega 80gb gpu": "nvidia-h100-mega-80gb",
    "h200 141gb gpu": "nvidia-h200-141gb",
    "rtx 6000 96gb": "nvidia-rtx-pro-6000",
}
DISKS = {
    "Storage PD Capacity": "pd-standard",
    "Balanced PD Capacity": "pd-balanced",
    "SSD backed PD Capacity": "pd-ssd",
    "SSD backed Local Storage": "local-ssd",
}
_PLACE = r"(?P<place>(?:(?! in | for ).)+)"
_MACHINE = re.compile(rf"(?P<spot>Spot Preemptible )?(?P<series>.+) (?P<part>Core|Ram) running in {_PLACE}")
_GPU = re.compile(rf"(?P<gpu>.+?)(?P<spot> attached to Spot Preemptible VMs)? running in {_PLACE}")
_DISK = re.compile(rf"(?P<disk>.+?)(?P<spot> attached to Spot Preemptible VMs)?(?: in {_PLACE})?")


@fast_dataclass(frozen=True)
class Row:
    """``key``: what is priced, such as ``g2 core``, ``gpu nvidia-l4`` or ``disk pd-balanced``. ``use``: ``OnDemand`` or
    ``Preemptible``. ``amount``: of an hour, or of a month for a GiB of disk; None if the row has no single price."""

    key: str
    use: str
    regions: tuple[str, ...]
    amount: float | None


def parse_row(sku: Any) -> Row | None:
    """The row, if it prices a part of a VM. ``sku``: the JSON of one SKU."""
    fields = _mapping(sku)
    category = _mapping(fields.get("category"))
    family, use, text = category.get("resourceFamily"), category.get("usageType"), str(fields.get("description"))
    found = _key(family, text)
    if found is None or use not in (STANDARD, SPOT):
        return None
    key, unit, is_spot = found
    if is_spot != (use == SPOT):
        return None
    regions = fields.get("serviceRegions")
    names = dict.fromkeys(str(region) for region in regions) if isinstance(regions, list) else ()
    return Row(key, use, tuple(names), _amount(fields.get("pricingInfo"), unit))


def _key(family: Any, text: str) -> tuple[str, str, bool] | None:
    """The key, its unit of usage, and whether the description is that of a Spot VM's part."""
    if family == "Compute":
        if (machine := _MACHINE.fullmatch(text)) and machine["series"] in SERIES:
            is_core = machine["part"] == "Core"
            part, unit = ("core", "h") if is_core else ("memory", "GiBy.h")
            return f"{SERIES[machine['series']]} {part}", unit, bool(machine["spot"])
        if (gpu := _GPU.fullmatch(text)) and gpu["gpu"].lower() in GPUS:
            return f"gpu {GPUS[gpu['gpu'].lower()]}", "h", bool(gpu["spot"])
    if family == "Storage" and (disk := _DISK.fullmatch(text)) and disk["disk"] in DISKS:
        return f"disk {DISKS[disk['disk']]}", "GiBy.mo", bool(disk["spot"])
    return None


def _amount(timeline: Any, unit: str) -> float | None:
    """The newest price in ``unit``. A first quantity that is free is not a price: it may be used up already."""
    newest = timeline[-1] if isinstance(timeline, list) and timeline else None
    expression = _mapping(_mapping(newest).get("pricingExpression"))
    rates = expression.get("tieredRates")
    if expression.get("usageUnit") != unit or not isinstance(rates, list):
        return None
    amounts = {_money(_mapping(rate).get("unitPrice")) for rate in rates} - {0.0}
    return amounts.pop() if len(amounts) == 1 else None


def _money(price: Any) -> float | None:
    """None in another currency."""
    fields = _mapping(price)
    if fields.get("currencyCode", CURRENCY) != CURRENCY:
        return None
    try:
        return int(fields.get("units") or 0) + int(fields.get("nanos") or 0) / 1e9
    except (TypeError, ValueError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
