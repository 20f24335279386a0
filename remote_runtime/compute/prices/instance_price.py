"""The price of an hour of a VM that exists: its machine type, GPUs and disks, read from Compute Engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ...core.model import Instance
from ...core.price import HourlyPrice
from ..client import gcloud_config, priority
from ..client.rest import Json, RestApi, compute_path, open_rest
from ..instances.convert import last_segment
from .fetch import current_prices
from .hourly import LOCAL_SSD, DiskShape, has_free_licenses, hourly_price
from .shapes import attached_gpus, dicts, machine_shape, number

PROVISIONING = {"SPOT": "spot", "STANDARD": "standard", "FLEX_START": "flex-start"}
_ZONE_DISK = re.compile(r"/projects/([^/]+)/zones/([^/]+)/disks/([^/]+)$")


def update_prices(*, progress: Progress, deadline: Deadline, environ: Mapping[str, str]) -> None:
    """Reads the price list unless it was read today. Raises ``CloudError``."""
    current_prices(environ, progress=progress, deadline=deadline)


def instance_price(
    instance: Instance,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    in_background: bool = False,
) -> HourlyPrice | None:
    """What an hour of ``instance`` costs while it runs; None if that is not known. ``in_background``: runs at a lower
    priority. Raises ``CloudError``."""
    if in_background:
        priority.run_in_background()
    rest = open_rest(environ, gcloud_config.COMPUTE, deadline)
    zone = ("projects", instance.project or "", "zones", instance.zone or "")
    raw = rest.get(compute_path(*zone, "instances", instance.name), doing=f"read the instance {instance.name}")
    name = last_segment(str(raw.get("machineType")))
    machine_type = rest.get(compute_path(*zone, "machineTypes", name), doing=f"read the machine type {name}")
    shape, disks = machine_shape(machine_type, attached_gpus(raw)), _disks(rest, dicts(raw.get("disks")))
    if shape is None or disks is None:
        return None
    prices = current_prices(environ, progress=progress, deadline=deadline)
    return hourly_price(prices, shape, disks, str(instance.zone).rpartition("-")[0], _provisioning(raw))


def _disks(rest: RestApi, attached: Sequence[Json]) -> list[DiskShape] | None:
    """None if one has a price that the price list does not show: a regional one, or an operating system's."""
    found = []
    for each in attached:
        if each.get("type") == "SCRATCH":
            found.append(DiskShape(LOCAL_SSD, number(each.get("diskSizeGb"))))
            continue
        where = _ZONE_DISK.search(str(each.get("source")))
        if where is None:
            return None
        project, zone, name = where.groups()
        path = compute_path("projects", project, "zones", zone, "disks", name)
        disk = rest.get(path, doing=f"read the disk {name}")
        licenses = disk.get("licenses")
        if not has_free_licenses([str(link) for link in licenses] if isinstance(licenses, list) else []):
            return None
        found.append(DiskShape(last_segment(str(disk.get("type"))), number(disk.get("sizeGb"))))
    return found


def _provisioning(raw: Json) -> str:
    scheduling = raw.get("scheduling")
    fields = scheduling if isinstance(scheduling, dict) else {}
    model = str(fields.get("provisioningModel") or ("SPOT" if fields.get("preemptible") else "STANDARD"))
    return PROVISIONING.get(model, "")
