"""Checks of the project: enabled APIs, permissions, quota."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

from ...core.model import Finding
from ...core.shell_command import shell_command
from ..client import gcloud_config
from ..client.rest import Json, compute_path
from ..instances.convert import last_segment
from ..prices.shapes import dicts
from .request import CreationRequest

COMPUTE, IAP, BILLING = "compute.googleapis.com", "iap.googleapis.com", "cloudbilling.googleapis.com"
# https://cloud.google.com/compute/docs/instances/create-start-instance#required-permissions
PERMISSIONS = (
    "compute.instances.create", "compute.instances.delete", "compute.instances.get", "compute.instances.setLabels",
    "compute.instances.setMetadata", "compute.disks.create", "compute.subnetworks.use",
)  # fmt: skip
GPU_METRICS = {
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
    "nvidia-tesla-p4": "NVIDIA_P4_GPUS",
    "nvidia-tesla-p100": "NVIDIA_P100_GPUS",
    "nvidia-tesla-v100": "NVIDIA_V100_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-a100-80gb": "NVIDIA_A100_80GB_GPUS",
    "nvidia-h100-80gb": "NVIDIA_H100_GPUS",
}
# Series without an entry have quotas of their own, which Compute Engine does not list with the region's.
CPU_METRICS = {
    "c2": "C2_CPUS", "c2d": "C2D_CPUS", "c3": "C3_CPUS", "e2": "CPUS", "n1": "CPUS", "n2": "N2_CPUS",
    "n2d": "N2D_CPUS", "t2d": "T2D_CPUS",
}  # fmt: skip
DISK_METRICS = {"pd-balanced": "SSD_TOTAL_GB", "pd-ssd": "SSD_TOTAL_GB", "pd-standard": "DISKS_TOTAL_GB"}
PREEMPTIBLE = "PREEMPTIBLE_"


def check_apis(request: CreationRequest) -> Finding:
    """Raises ``CloudError``, as the other checks."""
    wanted = [COMPUTE, *([IAP] if request.uses_iap else [])]
    names = [f"projects/{request.project}/services/{each}" for each in (*wanted, BILLING)]
    rest = request.api(gcloud_config.SERVICE_USAGE)
    path = f"v1/projects/{quote(request.project, safe=':')}/services:batchGet"
    answer = rest.get(path, {"names": names}, doing="read which APIs are enabled")
    states = {last_segment(str(each.get("name"))): each.get("state") for each in dicts(answer.get("services"))}
    disabled = [each for each in wanted if states.get(each) == "DISABLED"]
    if disabled:
        enable = shell_command("gcloud", "services", "enable", *disabled, f"--project={request.project}")
        what = f"{_names('API', disabled)} disabled in project {request.project}"
        why = "creating a VM and connecting to it requires them" if len(disabled) > 1 else "`up` requires it"
        return Finding("apis", "failed", what, why, f"Run {enable}", "permission-denied")
    no_prices = "; prices are not shown: the Cloud Billing API is disabled" * (states.get(BILLING) == "DISABLED")
    return Finding("apis", "ok", f"Enabled: {', '.join(wanted)}{no_prices}")


def wanted_permissions(request: CreationRequest) -> list[str]:
    settings = request.settings
    extra = {
        "compute.instances.setTags": bool(settings.tags),
        "compute.subnetworks.useExternalIp": settings.external_address,
        "compute.instances.setServiceAccount": settings.service_account is not None,
        "iam.serviceAccounts.actAs": settings.service_account is not None,
        "compute.images.useReadOnly": f"projects/{request.project}/" in request.image,
        "iap.tunnelInstances.accessViaIAP": request.uses_iap,
    }
    return [*PERMISSIONS, *(permission for permission, is_wanted in extra.items() if is_wanted)]


def check_permissions(request: CreationRequest) -> Finding:
    wanted = wanted_permissions(request)
    rest = request.api(gcloud_config.RESOURCE_MANAGER)
    path = f"v1/projects/{quote(request.project, safe='')}:testIamPermissions"
    answer = rest.post(path, {"permissions": wanted}, doing="read the permissions on the project")
    granted = answer.get("permissions")
    missing = [each for each in wanted if each not in (granted if isinstance(granted, list) else [])]
    if not missing:
        return Finding("creation-permissions", "ok", f"Granted: {', '.join(wanted)}")
    return Finding(
        "creation-permissions",
        "failed",
        f"The credentials lack {', '.join(missing)} in project {request.project}",
        "creating a VM, or connecting to it, requires it",
        "A project owner can grant the roles roles/compute.instanceAdmin.v1, roles/iap.tunnelResourceAccessor and "
        "roles/iam.serviceAccountUser",
        "permission-denied",
    )


def check_quota(request: CreationRequest) -> Finding:
    """Only quotas that Compute Engine lists are known."""
    short: list[str] = []
    regional = [metric for metric in _demand(request) if not metric.endswith("_ALL_REGIONS")]
    for region in request.regions:
        path = compute_path("projects", request.project, "regions", region)
        answer = request.api().get(path, {"fields": "quotas"}, doing=f"read the quotas of {region}")
        short += _shortages(request, answer, regional, f" in {region}")
    path = compute_path("projects", request.project)
    answer = request.api().get(path, {"fields": "quotas"}, doing=f"read the quotas of project {request.project}")
    overall = [metric for metric in _demand(request) if metric.endswith("_ALL_REGIONS")]
    in_all = list(_shortages(request, answer, overall, " in all regions together"))
    if not short and not in_all:
        return Finding("quota", "ok", "Enough for this VM")
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={quote(request.project, safe='')}"
    what = f"The quota of project {request.project} is too low"
    return Finding("quota", "failed", what, "; ".join([*in_all, *short]), f"Request more on {page}", "quota-exceeded")


def _demand(request: CreationRequest) -> dict[str, float]:
    """How much of each quota the VM takes, of those that are known."""
    demand: dict[str, float] = {"INSTANCES": 1}
    if metric := DISK_METRICS.get(request.settings.boot_disk.type):
        demand[metric] = request.disk_gb
    if request.settings.external_address:
        demand["IN_USE_ADDRESSES"] = 1
    if (shape := request.shape) is None:
        return demand
    if metric := CPU_METRICS.get(shape.name.partition("-")[0]):
        demand |= {metric: shape.cpus, "CPUS_ALL_REGIONS": shape.cpus}
    if shape.gpu_count:
        demand["GPUS_ALL_REGIONS"] = shape.gpu_count
        if metric := GPU_METRICS.get(shape.gpu):
            demand[metric] = shape.gpu_count
    return demand


def _shortages(request: CreationRequest, answer: Json, metrics: Iterable[str], where: str) -> Iterator[str]:
    quotas = {str(each.get("metric")): each for each in dicts(answer.get("quotas"))}
    demand = _demand(request)
    for metric in metrics:
        # Spot and Flex-start take the preemptible quota; without one of their own, the standard quota counts.
        names = [metric] if request.settings.provisioning == "standard" else [f"{PREEMPTIBLE}{metric}", metric]
        known = [quotas[name] for name in names if name in quotas]
        if known and all(_free(quota) < demand[metric] for quota in known):
            quota = known[0]
            limit, usage = _amount(quota.get("limit")), _amount(quota.get("usage"))
            yield f"{quota.get('metric')}{where}: {usage:g} of {limit:g} in use, {demand[metric]:g} needed"


def _free(quota: Json) -> float:
    return _amount(quota.get("limit")) - _amount(quota.get("usage"))


def _amount(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _names(kind: str, names: list[str]) -> str:
    return f"The {kind} {names[0]} is" if len(names) == 1 else f"The {kind}s {' and '.join(names)} are"
