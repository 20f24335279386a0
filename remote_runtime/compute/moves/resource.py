"""The body of ``instances.insert`` for a moved instance: the old one, with what belongs to its zone replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...core.creation import CREATED_BY_LABEL, GPU_FAMILIES, region_of
from ...core.move import MOVED_FROM_LABEL, MovedDisk, MovePlan
from ..client.api import is_true
from ..instances.convert import last_segment
from ..instances.host_keys import GUEST_ATTRIBUTES_FLAG

if TYPE_CHECKING:
    from google.cloud import compute_v1

# What does not depend on the zone, and is not read-only.
KEPT = (
    "advanced_machine_features", "can_ip_forward", "confidential_instance_config", "description", "display_device",
    "hostname", "key_revocation_action_type", "min_cpu_platform", "name", "network_performance_config",
    "private_ipv6_google_access", "scheduling", "service_accounts", "shielded_instance_config",
    "shielded_instance_integrity_policy",
)  # fmt: skip
KEPT_OF_INTERFACES = ("network", "nic_type", "queue_count", "stack_type")
KEPT_OF_ACCESS = ("name", "type_", "network_tier", "public_ptr_domain_name", "set_public_ptr")


def moved_instance(old: compute_v1.Instance, plan: MovePlan, zone: str, wait_s: float) -> compute_v1.Instance:
    """``wait_s``: how long Compute Engine may wait for capacity, 0 if it must not."""
    from google.cloud import compute_v1

    kind, own = last_segment(old.machine_type), {CREATED_BY_LABEL: plan.creation.client_id}
    instance = compute_v1.Instance(
        machine_type=f"zones/{zone}/machineTypes/{kind}",
        labels={**old.labels, **own, MOVED_FROM_LABEL: plan.moved_from},
        metadata=compute_v1.Metadata(items=list(_metadata_items(old))),
        disks=list(_disks(old, plan, zone)),
        network_interfaces=[_interface(each, plan, zone) for each in old.network_interfaces],
    )
    _copy(old, instance, KEPT)
    if old.tags.items:
        instance.tags = compute_v1.Tags(items=list(old.tags.items))
    in_zone = f"projects/{plan.creation.project}/zones/{zone}"
    if kind.partition("-")[0] not in GPU_FAMILIES:
        for each in old.guest_accelerators:
            type_ = f"{in_zone}/acceleratorTypes/{last_segment(each.accelerator_type)}"
            gpu = compute_v1.AcceleratorConfig(accelerator_type=type_, accelerator_count=each.accelerator_count)
            instance.guest_accelerators.append(gpu)
    if region_of(zone) == region_of(plan.old_zone):
        instance.resource_policies = list(old.resource_policies)
    if old.reservation_affinity.consume_reservation_type == "SPECIFIC_RESERVATION":
        instance.reservation_affinity = compute_v1.ReservationAffinity(consume_reservation_type="NO_RESERVATION")
    elif "reservation_affinity" in old:
        instance.reservation_affinity = old.reservation_affinity
    if wait_s:
        instance.params = compute_v1.InstanceParams(request_valid_for_duration=compute_v1.Duration(seconds=int(wait_s)))
    return instance


def _copy(old: Any, new: Any, fields: tuple[str, ...]) -> None:
    """Of ``fields``, those that ``old`` has."""
    for field in fields:
        if field in old:
            setattr(new, field, getattr(old, field))


def _metadata_items(old: compute_v1.Instance) -> Iterator[compute_v1.Items]:
    """With guest attributes: the new id has no pinned host key, and its first contact must be verified."""
    from google.cloud import compute_v1

    flag = ""
    for item in old.metadata.items:
        if item.key == GUEST_ATTRIBUTES_FLAG:
            flag = item.value
        if item.key != GUEST_ATTRIBUTES_FLAG or is_true(item.value):
            yield compute_v1.Items(key=item.key, value=item.value)
    if not is_true(flag):
        yield compute_v1.Items(key=GUEST_ATTRIBUTES_FLAG, value="TRUE")


def _disks(old: compute_v1.Instance, plan: MovePlan, zone: str) -> Iterator[compute_v1.AttachedDisk]:
    """In the order of the old ones, under the same device names."""
    from google.cloud import compute_v1

    by_name = {disk.name: disk for disk in plan.disks}
    for each in old.disks:
        disk = compute_v1.AttachedDisk(
            type_=each.type_, boot=each.boot, auto_delete=each.auto_delete, mode=each.mode, device_name=each.device_name
        )
        _copy(each, disk, ("interface",))
        if each.type_ == "SCRATCH":
            local = f"zones/{zone}/diskTypes/local-ssd"
            disk.initialize_params = compute_v1.AttachedDiskInitializeParams(disk_type=local)
        else:
            disk.initialize_params = _from_snapshot(by_name[last_segment(each.source)], plan, zone)
            if each.disk_encryption_key.kms_key_name:
                key = each.disk_encryption_key.kms_key_name.partition("/cryptoKeyVersions/")[0]
                disk.disk_encryption_key = compute_v1.CustomerEncryptionKey(kms_key_name=key)
        yield disk


def _from_snapshot(disk: MovedDisk, plan: MovePlan, zone: str) -> compute_v1.AttachedDiskInitializeParams:
    from google.cloud import compute_v1

    params = compute_v1.AttachedDiskInitializeParams(
        disk_name=disk.name,
        disk_size_gb=disk.size_gb,
        disk_type=f"zones/{zone}/diskTypes/{disk.type}",
        source_snapshot=f"projects/{plan.creation.project}/global/snapshots/{disk.snapshot}",
        labels={**disk.labels, CREATED_BY_LABEL: plan.creation.client_id},
    )
    if disk.iops:
        params.provisioned_iops = disk.iops
    if disk.throughput:
        params.provisioned_throughput = disk.throughput
    return params


def _interface(old: compute_v1.NetworkInterface, plan: MovePlan, zone: str) -> compute_v1.NetworkInterface:
    """In the same subnet, or in that of another region; with an ephemeral address where the old one has an external
    one."""
    from google.cloud import compute_v1

    new = compute_v1.NetworkInterface()
    _copy(old, new, KEPT_OF_INTERFACES)
    others = {(each.region, each.old): each.new for each in plan.subnets}
    if subnet := others.get((region_of(zone), old.subnetwork), old.subnetwork):
        new.subnetwork = subnet
    for kind in ("access_configs", "ipv6_access_configs"):
        for each in getattr(old, kind):
            access = compute_v1.AccessConfig()
            _copy(each, access, KEPT_OF_ACCESS)
            getattr(new, kind).append(access)
    return new
