"""Plans a move: checks that nothing is lost unsaid, and orders the zones. Changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...core.callbacks import Progress
from ...core.creation import (
    GPU_FAMILIES,
    CreateSettings,
    CreationPlan,
    GpuRequest,
    ImageSource,
    PlannedZone,
    Provisioning,
    region_of,
)
from ...core.deadline import Deadline
from ...core.errors import CloudError
from ...core.model import Instance
from ...core.move import MOVED_FROM_LABEL, MovedDisk, MovedSubnet, MovePlan, origin_in
from ...core.profile import GceTarget
from ..client import gcloud_config
from ..client.api import Api, is_true, metadata_items, open_api
from ..creation import failures
from ..creation.offer import Offer, read_offer
from ..creation.plan import find_by_name, order_zones, zones_of
from ..instances import search
from ..instances.convert import clean_name, gcloud_command, has_local_ssd, last_segment, status_of, to_instance
from ..instances.host_keys import GUEST_ATTRIBUTES_FLAG
from ..worker_protocol import TIMEOUT_HINT
from .networks import reserved_addresses, subnets_in

if TYPE_CHECKING:
    from google.cloud import compute_v1

PROVISIONING: Mapping[str, Provisioning] = {"SPOT": "spot", "FLEX_START": "flex-start"}
SNAPSHOT_PREFIX = "rr-move"
MAX_NAME_CHARS = 63
MORE_ZONES_HINT = "Set `target.zones` to zones of other regions, or try again later"
STOPPED = ("TERMINATED", "STOPPED")


def plan_move(
    target: GceTarget,
    client_id: str,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    delete_old: bool = False,
    quota: str = "",
) -> MovePlan:
    """Where the stopped instance that ``target`` means can move, and what that changes. ``delete_old``: the old one is
    to be deleted afterwards. ``quota``: the API's words, where it did not start because of a quota.

    Raises ``CloudError``: ``instance-not-movable`` with the reason, ``quota-exceeded`` for a global one; as ``find``.
    """
    api = open_api(environ, progress=progress, deadline=deadline)
    api.timeout_hint = TIMEOUT_HINT
    api.project = gcloud_config.project(target.project, environ, api.identity.project).value
    raw = search.find_one(api, target, gcloud_config.zone(target.zone, environ))
    instance = to_instance(raw, api.project, target.connect)
    progress(f"Planning the move of {instance.name} out of {instance.zone}")
    _check_movable(raw, instance, delete_old=delete_old)
    disks = tuple(_moved_disks(api, raw, instance))
    settings, zones = settings_of(raw), _other_zones(api, target, instance)
    offer = _offer(api, settings)
    if offer.zones is not None and not offer.zones.intersection(zones):
        raise not_movable(instance, f"none of {', '.join(zones)} has {offer.machine}", MORE_ZONES_HINT)
    ordered = order_zones(api, zones, settings, offer, "", advised=not target.zones)
    chosen, in_subnets = _skip_unusable(api, raw, instance, ordered, disks, quota)
    usable = [zone.name for zone in chosen if not zone.skip]
    if not usable:
        why = "; ".join(f"{zone.name}: {zone.skip}" for zone in chosen)
        code = "quota-exceeded" if quota else "instance-not-movable"
        raise CloudError(code, f"{instance.name} can't move: no other zone takes it", why, MORE_ZONES_HINT)
    boot = next((disk for disk in disks if disk.boot), disks[0])
    creation = CreationPlan(
        instance=instance.name,
        project=api.project,
        settings=settings,
        zones=chosen,
        image="",
        image_name=f"disk {boot.name}",
        machine=offer.machine,
        disk_gb=boot.size_gb,
        client_id=client_id,
        has_gpu=offer.has_gpu,
    )
    origin = origin_in(raw.labels.get(MOVED_FROM_LABEL, "")) or instance.zone or ""
    return MovePlan(
        creation,
        instance.id or "",
        instance.zone or "",
        origin,
        disks,
        tuple(_changes(api, raw, usable, in_subnets)),
        in_subnets,
    )


def settings_of(raw: compute_v1.Instance) -> CreateSettings:
    """What of the new instance decides on the zones."""
    kind = last_segment(raw.machine_type)
    gpus = [GpuRequest(last_segment(each.accelerator_type), each.accelerator_count) for each in raw.guest_accelerators]
    own = kind.partition("-")[0] in GPU_FAMILIES
    default: Provisioning = "spot" if raw.scheduling.preemptible else "standard"
    model = PROVISIONING.get(raw.scheduling.provisioning_model, default)
    return CreateSettings(kind, ImageSource(), gpu=gpus[0] if gpus and not own else None, provisioning=model)


def not_movable(instance: Instance, why: str, hint: str = "") -> CloudError:
    return CloudError("instance-not-movable", f"{instance.name} can't move out of {instance.zone}", why, hint)


def _check_movable(raw: compute_v1.Instance, instance: Instance, *, delete_old: bool) -> None:
    status = status_of(raw)
    if status == "SUSPENDED":
        resume = gcloud_command("instances", "resume", instance)
        raise not_movable(instance, "it is suspended, and a move loses what is in its memory", f"Resume it: {resume}")
    if status not in STOPPED:
        raise not_movable(instance, f"its status is {status}", "Run `remote-runtime up PROFILE`")
    if raw.scheduling.node_affinities:
        raise not_movable(instance, "it runs on sole-tenant nodes, which are in its zone")
    if delete_old and raw.deletion_protection:
        allow = gcloud_command("instances", "update", instance, "--no-deletion-protection")
        why = "deletion protection keeps the old one from being deleted"
        raise not_movable(instance, why, f"Leave out --delete-old, or run {allow}")


def _moved_disks(api: Api, raw: compute_v1.Instance, instance: Instance) -> Iterator[MovedDisk]:
    """Its persistent disks, the boot disk first. A Local SSD has no data while the instance is stopped, unless Compute
    Engine has saved it."""
    from google.cloud import compute_v1

    client, token = api.client(compute_v1.DisksClient), secrets.token_hex(4)
    attached = sorted(raw.disks, key=lambda each: not each.boot)
    for number, each in enumerate(attached):
        if each.type_ == "SCRATCH":
            if each.saved_state == "PRESERVED":
                ssd = clean_name(each.device_name)
                raise not_movable(instance, f"its Local SSD {ssd} has data, which would be lost")
            continue
        _, place, zone, _, name = each.source.split("/")[-5:] if each.source.count("/") >= 5 else ("",) * 5
        if place != "zones" or zone != instance.zone:
            why = f"its disk {last_segment(each.source)} is not a disk of its zone"
            raise not_movable(instance, why, "Detach it first; see `gcloud compute instances detach-disk --help`")
        request = {"project": api.project, "zone": zone, "disk": name}
        disk = api.call(client.get, request, doing=f"read the disk {name}")
        _check_disk(disk, each, raw, instance)
        yield MovedDisk(
            name=name,
            size_gb=int(disk.size_gb),
            type=last_segment(disk.type_),
            snapshot=_snapshot_name(instance.name, number, token),
            boot=each.boot,
            auto_delete=each.auto_delete,
            labels=dict(disk.labels),
            iops=int(disk.provisioned_iops),
            throughput=int(disk.provisioned_throughput),
        )


def _check_disk(
    disk: compute_v1.Disk, attached: compute_v1.AttachedDisk, raw: compute_v1.Instance, instance: Instance
) -> None:
    name = clean_name(disk.name)
    others = [last_segment(url) for url in disk.users if last_segment(url) != raw.name]
    if others:
        why = f"its disk {name} is attached to {', '.join(others)} too"
        detach = gcloud_command("instances", "detach-disk", instance, f"--disk={name}")
        raise not_movable(instance, why, f"Detach it first: {detach}")
    key = attached.disk_encryption_key
    if key.sha256 and not key.kms_key_name:
        raise not_movable(instance, f"its disk {name} is encrypted with a key that you supply with each request")


def _snapshot_name(instance: str, number: int, token: str) -> str:
    end = f"-{number}-{token}"
    return f"{SNAPSHOT_PREFIX}-{instance}"[: MAX_NAME_CHARS - len(end)].rstrip("-") + end


def _other_zones(api: Api, target: GceTarget, instance: Instance) -> Sequence[str]:
    """The profile's zones, or those of its regions; without others those of the instance's region."""
    own = target.zones or tuple(zone for region in target.regions for zone in zones_of(api, region))
    others = [zone for zone in own if zone != instance.zone]
    return others or [zone for zone in zones_of(api, region_of(instance.zone or "")) if zone != instance.zone]


def _offer(api: Api, settings: CreateSettings) -> Offer:
    """Custom machine types are in no list."""
    if "custom" in settings.machine_type.split("-"):
        return Offer(None, settings.machine_type, settings.gpu is not None)
    return read_offer(api, settings)


def _skip_unusable(
    api: Api,
    raw: compute_v1.Instance,
    instance: Instance,
    zones: Sequence[PlannedZone],
    disks: Sequence[MovedDisk],
    quota: str,
) -> tuple[tuple[PlannedZone, ...], tuple[MovedSubnet, ...]]:
    """``zones``, some of them with a reason to be skipped; and the subnets in other regions."""
    scope = failures.quota_scope(quota, instance.zone or "") if quota else ""
    others, names = find_by_name(api, raw.name), [disk.name for disk in disks]
    taken = {zone: f"another disk {name} exists there" for zone, name in _disks_named(api, names)}
    taken |= {last_segment(other.zone): f"another VM {instance.name} exists there" for other in others}
    chosen: list[PlannedZone] = []
    found: dict[str, tuple[MovedSubnet, ...] | str] = {}
    for zone in zones:
        region, skip = region_of(zone.name), zone.skip or taken.get(zone.name, "")
        if not skip and scope in ("global", region):
            skip = f"the quota is used up: {quota}"
        if not skip and region != region_of(instance.zone or ""):
            in_region = found[region] = found.get(region) or subnets_in(api, raw.network_interfaces, region)
            skip = in_region if isinstance(in_region, str) else ""
        chosen.append(replace(zone, skip=skip))
    return tuple(chosen), tuple(each for some in found.values() if not isinstance(some, str) for each in some)


def _disks_named(api: Api, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(zone, name) of the project's disks that have one of ``names``."""
    from google.cloud import compute_v1

    client = api.client(compute_v1.DisksClient)

    def listed(*, request: dict[str, Any], retry: None, timeout: float) -> list[tuple[str, str]]:
        pages = client.aggregated_list(request=request, retry=retry, timeout=timeout).pages
        scopes = [scope for page in pages for scope in page.items.values()]
        return [(last_segment(disk.zone), disk.name) for scope in scopes for disk in scope.disks]

    method: Callable[..., list[tuple[str, str]]] = listed
    for name in names:
        request = {"project": api.project, "filter": f'name = "{name}"'}
        found = api.call(method, request, doing=f"list the disks named {name}")
        yield from ((zone, other) for zone, other in found if other == name)


def _changes(
    api: Api, raw: compute_v1.Instance, zones: Sequence[str], in_subnets: Sequence[MovedSubnet]
) -> Iterator[str]:
    """What the new instance has not, or has in another form."""
    for address in reserved_addresses(api, raw):
        yield f"The reserved external address {address} stays with the old VM; the new one gets another"
    for each in in_subnets:
        new, old = last_segment(each.new), last_segment(each.old)
        yield f"In {each.region} its subnet is {new} instead of {old}, with another internal address"
    if has_local_ssd(raw):
        yield "Its Local SSDs are empty, as after each stop"
    if raw.deletion_protection:
        yield "The new VM has no deletion protection"
    if raw.resource_policies and any(region_of(zone) != region_of(last_segment(raw.zone)) for zone in zones):
        yield f"In another region it has no policies such as {last_segment(raw.resource_policies[0])}"
    if raw.reservation_affinity.consume_reservation_type == "SPECIFIC_RESERVATION":
        yield "It uses no reservation: the one that is set is in the old zone"
    if any(nic.alias_ip_ranges for nic in raw.network_interfaces):
        yield "It has no alias IP ranges"
    if not is_true(metadata_items(raw.metadata).get(GUEST_ATTRIBUTES_FLAG)):
        yield f"Its metadata gets `{GUEST_ATTRIBUTES_FLAG}=TRUE`, by which its host keys are verified"
