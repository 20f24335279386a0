"""The body of ``instances.insert`` for a plan and a zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.creation import CREATED_BY_LABEL, CreateSettings, CreationPlan, region_of
from ..instances.host_keys import GUEST_ATTRIBUTES_FLAG

if TYPE_CHECKING:
    from google.cloud import compute_v1

SCOPE_PREFIX = "https://www.googleapis.com/auth/"
DEFAULT_SCOPES = ("cloud-platform",)
_MODELS = {"standard": "STANDARD", "spot": "SPOT", "flex-start": "FLEX_START"}


def provisioning_model(settings: CreateSettings) -> str:
    """Compute Engine's name of it."""
    return _MODELS[settings.provisioning]


def instance_resource(plan: CreationPlan, zone: str, wait_s: float) -> compute_v1.Instance:
    """``wait_s``: how long Compute Engine may wait for capacity, 0 if it must not."""
    from google.cloud import compute_v1

    settings = plan.settings
    instance = compute_v1.Instance(
        name=plan.instance,
        machine_type=f"zones/{zone}/machineTypes/{settings.machine_type}",
        disks=[_boot_disk(plan, zone)],
        network_interfaces=[_interface(settings, zone)],
        scheduling=_scheduling(plan),
        labels={**settings.labels, CREATED_BY_LABEL: plan.client_id},
        metadata=compute_v1.Metadata(items=_metadata_items(settings)),
    )
    if settings.gpu is not None:
        kind = f"projects/{plan.project}/zones/{zone}/acceleratorTypes/{settings.gpu.type}"
        accelerator = compute_v1.AcceleratorConfig(accelerator_type=kind, accelerator_count=settings.gpu.count)
        instance.guest_accelerators = [accelerator]
    if settings.tags:
        instance.tags = compute_v1.Tags(items=list(settings.tags))
    if settings.service_account is not None:
        scopes = [_scope_url(scope) for scope in settings.scopes or DEFAULT_SCOPES]
        instance.service_accounts = [compute_v1.ServiceAccount(email=settings.service_account, scopes=scopes)]
    if settings.provisioning == "flex-start":
        # https://cloud.google.com/compute/docs/instances/create-flex-start-vm: it consumes no reservation.
        instance.reservation_affinity = compute_v1.ReservationAffinity(consume_reservation_type="NO_RESERVATION")
        wait = compute_v1.Duration(seconds=int(wait_s))
        instance.params = compute_v1.InstanceParams(request_valid_for_duration=wait)
    return instance


def _boot_disk(plan: CreationPlan, zone: str) -> compute_v1.AttachedDisk:
    from google.cloud import compute_v1

    return compute_v1.AttachedDisk(
        boot=True,
        auto_delete=True,
        initialize_params=compute_v1.AttachedDiskInitializeParams(
            source_image=plan.image,
            disk_size_gb=plan.disk_gb,
            disk_type=f"zones/{zone}/diskTypes/{plan.settings.boot_disk.type}",
            labels={**plan.settings.labels, CREATED_BY_LABEL: plan.client_id},
        ),
    )


def _interface(settings: CreateSettings, zone: str) -> compute_v1.NetworkInterface:
    from google.cloud import compute_v1

    interface = compute_v1.NetworkInterface()
    if settings.network or not settings.subnet:
        network = settings.network or "default"
        interface.network = network if "/" in network else f"global/networks/{network}"
    if settings.subnet:
        in_region = f"regions/{region_of(zone)}/subnetworks/{settings.subnet}"
        interface.subnetwork = settings.subnet if "/" in settings.subnet else in_region
    if settings.external_address:
        interface.access_configs = [compute_v1.AccessConfig(name="External NAT", type_="ONE_TO_ONE_NAT")]
    return interface


def _scheduling(plan: CreationPlan) -> compute_v1.Scheduling:
    """Machines with GPUs cannot migrate; Spot and Flex-start VMs cannot restart by themselves either."""
    from google.cloud import compute_v1

    settings, is_standard = plan.settings, plan.settings.provisioning == "standard"
    scheduling = compute_v1.Scheduling(provisioning_model=provisioning_model(settings))
    if plan.has_gpu or not is_standard:
        scheduling.on_host_maintenance = "TERMINATE"
    if not is_standard:
        scheduling.automatic_restart = False
    if settings.max_run_s is not None:
        scheduling.max_run_duration = compute_v1.Duration(seconds=int(settings.max_run_s))
    if settings.max_run_s is not None or not is_standard:
        scheduling.instance_termination_action = "STOP"
    return scheduling


def _metadata_items(settings: CreateSettings) -> list[compute_v1.Items]:
    """With guest attributes the machine publishes its host keys, so that the first connection is verified."""
    from google.cloud import compute_v1

    items = {**settings.metadata, GUEST_ATTRIBUTES_FLAG: "TRUE"}
    return [compute_v1.Items(key=key, value=value) for key, value in items.items()]


def _scope_url(scope: str) -> str:
    return scope if scope.startswith("https://") else SCOPE_PREFIX + scope
