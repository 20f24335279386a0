"""Checks what the API returns for an instance, and converts it to ``Instance``."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from ...core.creation import CREATED_BY_LABEL
from ...core.errors import CloudError
from ...core.model import AttachedDisk, Instance
from ...core.sanitize import clean_line
from ...core.shell_command import shell_command

if TYPE_CHECKING:
    from google.cloud import compute_v1

Connect = Literal["auto", "external", "internal", "iap"]
MAX_NAME_CHARS = 63
_SET_BY_PROFILE = "set in the profile"
_NO_EXTERNAL = "it has no external address"
COMPLETE_WARNINGS = ("", "NO_RESULTS_ON_PAGE")  # warnings of a scope that was searched
NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_STATUS = re.compile(r"[A-Z_]{1,40}")


def to_instance(raw: compute_v1.Instance, project: str, connect: Connect) -> Instance:
    """``address`` is empty if the instance has none of the kind that ``connect`` asks for; IAP needs none."""
    number = str(raw.id)
    via = _route(raw, connect)
    return Instance(
        kind="gce",
        name=clean_name(raw.name),
        address=_external(raw) if via == "external" else _internal(raw),
        status=status_of(raw),
        id=number,
        zone=last_segment(raw.zone),
        project=project,
        host_key_name=f"compute.{number}",
        running_since=to_utc(raw.last_start_timestamp) if status_of(raw) == "RUNNING" else "",
        via=via,
        why_via="" if via != "iap" else _SET_BY_PROFILE if connect == "iap" else _NO_EXTERNAL,
        disks=tuple(_attached_disk(disk) for disk in raw.disks if disk.type_ != "SCRATCH"),
        created_by=clean_line(raw.labels.get(CREATED_BY_LABEL, ""), MAX_NAME_CHARS),
    )


def _attached_disk(disk: compute_v1.AttachedDisk) -> AttachedDisk:
    return AttachedDisk(last_segment(disk.source) or clean_name(disk.device_name), disk.disk_size_gb, disk.auto_delete)


def _route(raw: compute_v1.Instance, connect: Connect) -> Literal["external", "internal", "iap"]:
    if connect != "auto":
        return connect
    return "external" if _has_external(raw) else "iap"


def _has_external(raw: compute_v1.Instance) -> bool:
    """A stopped instance keeps the access configuration of its external address, but not the address."""
    return any(each.access_configs or each.ipv6_access_configs for each in raw.network_interfaces)


def check_names(raw: compute_v1.Instance, endpoint: str) -> None:
    """Its name, zone and id become part of further requests. Raises ``CloudError`` ``cloud-unreachable`` if they cannot
    be Compute Engine's."""
    if not (NAME.fullmatch(raw.name) and NAME.fullmatch(raw.zone.rsplit("/", 1)[-1]) and raw.id):
        why = f"it returned an instance {clean_name(raw.name)!r} in zone {clean_name(raw.zone)!r}"
        raise CloudError("cloud-unreachable", f"{endpoint} is not the Compute Engine API", why)


def has_local_ssd(raw: compute_v1.Instance) -> bool:
    return any(disk.type_ == "SCRATCH" for disk in raw.disks)


def unreachable_zones_in(page: Any) -> set[str]:
    """The zones that a page of an aggregated list reports as unreachable."""
    unreachable = {last_segment(url) for url in page.unreachables}
    unreachable |= {
        last_segment(name) for name, scope in page.items.items() if scope.warning.code not in COMPLETE_WARNINGS
    }
    if page.warning.code not in COMPLETE_WARNINGS and not unreachable:
        unreachable.add("some zones")
    return unreachable


def status_of(raw: compute_v1.Instance) -> str:
    """Compute Engine's status; ``UNKNOWN`` for what is not one."""
    return raw.status if _STATUS.fullmatch(raw.status) else "UNKNOWN"


def to_utc(text: str) -> str:
    """An RFC 3339 time as ISO 8601 in UTC; empty if it is none."""
    time = parse_time(text)
    return time.astimezone(timezone.utc).isoformat(timespec="seconds") if time else ""


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time, as Compute Engine sends them (in the Pacific time zone); None if it is none."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def seconds_since(text: str) -> float | None:
    """Seconds since an RFC 3339 time; None if it is none."""
    time = parse_time(text)
    return (datetime.now(timezone.utc) - time).total_seconds() if time else None


def check_connectable(raw: compute_v1.Instance, connect: Connect) -> None:
    """Raises ``CloudError`` ``no-address`` for an instance that could not be reached after a start."""
    if connect == "external" and not _has_external(raw):
        raise CloudError(
            "no-address",
            f"{clean_name(raw.name)} has no external address",
            "the profile sets `target.connect: external`",
            "Set `target.connect: auto` to connect through Identity-Aware Proxy, or add an address with "
            + gcloud_command("instances", "add-access-config", to_instance(raw, "", connect)),
        )


def gcloud_command(group: str, verb: str, instance: Instance, *options: str) -> str:
    """`gcloud compute GROUP VERB NAME --zone=ZONE --project=PROJECT OPTIONS`, for a hint."""
    of_project = [f"--project={instance.project}"] if instance.project else []
    return shell_command(
        "gcloud", "compute", group, verb, instance.name, f"--zone={instance.zone}", *of_project, *options
    )


def last_segment(url: str) -> str:
    """The name at the end of a resource's URL."""
    return clean_name(url.rsplit("/", 1)[-1])


def clean_name(text: str) -> str:
    """A resource name from the API, safe to show. Real ones have at most 63 characters."""
    return clean_line(text, MAX_NAME_CHARS)


def _external(raw: compute_v1.Instance) -> str:
    ipv4 = [access.nat_i_p for each in raw.network_interfaces for access in each.access_configs[:1]]
    ipv6 = [access.external_ipv6 for each in raw.network_interfaces for access in each.ipv6_access_configs[:1]]
    return _first_address([*ipv4, *ipv6])


def _internal(raw: compute_v1.Instance) -> str:
    return _first_address([text for each in raw.network_interfaces for text in (each.network_i_p, each.ipv6_address)])


def _first_address(texts: list[str]) -> str:
    """The first IP address, without a prefix length; empty if there is none."""
    for text in texts:
        try:
            return str(ipaddress.ip_address(text.split("/")[0]))
        except ValueError:
            continue
    return ""
