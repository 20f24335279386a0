"""Quotas of the emulated projects: limits, what instances use, and how Compute Engine refuses more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import offers
from .faults import Fault, OperationFault, RequestFault
from .instance import EmulatedInstance
from .values import Json

GPU_METRICS = {
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-h100-80gb": "NVIDIA_H100_GPUS",
}
ALL_GPUS = "GPUS_ALL_REGIONS"
# (region or empty for a global quota, metric) → limit
QuotaLimits = Mapping[tuple[str, str], float]
_LIMITS = {
    "CPUS": 72.0,
    "INSTANCES": 720.0,
    "DISKS_TOTAL_GB": 4096.0,
    **{metric: 4.0 for metric in GPU_METRICS.values() if metric != "NVIDIA_H100_GPUS"},
    **{f"PREEMPTIBLE_{metric}": 4.0 for metric in GPU_METRICS.values()},
}
_GLOBAL_LIMITS = {ALL_GPUS: 8.0, "SNAPSHOTS": 1000.0}
_OFF = ("TERMINATED", "STOPPED", "SUSPENDED")


def quotas_as_json(instances: Iterable[EmulatedInstance], limits: QuotaLimits, region: str) -> list[Json]:
    """The quotas of ``region``, or the global ones; ``instances``: all of the project."""
    running = [instance for instance in instances if instance.status not in _OFF]
    return [
        {"metric": metric, "limit": limits.get((region, metric), limit), "usage": _usage(running, region, metric)}
        for metric, limit in (_LIMITS if region else _GLOBAL_LIMITS).items()
    ]


def exceeded(
    new: EmulatedInstance, instances: Iterable[EmulatedInstance], limits: QuotaLimits, *, refuses_request: bool
) -> Fault | None:
    """What the creation or the start of ``new`` fails with, None within the quotas."""
    used = [instance for instance in instances if instance is not new and instance.status not in _OFF]
    for region in (offers.region_of(new.vm.zone), ""):
        for quota in quotas_as_json(used, limits, region):
            metric, limit = quota["metric"], quota["limit"]
            needed = _demand(new).get(metric, 0.0)
            if needed and quota["usage"] + needed > limit:
                return _fault(metric, limit, region, refuses_request=refuses_request)
    return None


def _usage(running: Iterable[EmulatedInstance], region: str, metric: str) -> float:
    here = [each for each in running if region in ("", offers.region_of(each.vm.zone))]
    return sum(_demand(instance).get(metric, 0.0) for instance in here)


def _demand(instance: EmulatedInstance) -> dict[str, float]:
    demand = {"INSTANCES": 1.0}
    machine_type = offers.MACHINE_TYPES.get(instance.vm.machine_type)
    if machine_type and not machine_type.gpu:
        demand["CPUS"] = float(machine_type.cpus)
    is_standard = instance.parts["scheduling"]["provisioningModel"] == "STANDARD"
    for gpu in instance.parts.get("guestAccelerators", ()):
        metric = GPU_METRICS.get(gpu["acceleratorType"].rpartition("/")[2], "")
        demand[metric if is_standard else f"PREEMPTIBLE_{metric}"] = float(gpu["acceleratorCount"])
        demand[ALL_GPUS] = float(gpu["acceleratorCount"])
    return demand


def _fault(metric: str, limit: float, region: str, *, refuses_request: bool) -> Fault:
    where = f"in region {region}" if region else "globally"
    message = f"Quota '{metric}' exceeded.  Limit: {limit:.1f} {where}."
    if refuses_request:
        return RequestFault(403, "quotaExceeded", message)
    info = {
        "metricName": f"compute.googleapis.com/{metric.lower()}",
        "limitName": metric.replace("_", "-") + ("-per-project-region" if region else "-per-project"),
        "dimensions": {"region": region} if region else {"global": "global"},
        "limit": limit,
    }
    return OperationFault("QUOTA_EXCEEDED", message, {"quotaInfo": info})
