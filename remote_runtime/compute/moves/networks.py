"""Networks of an instance that moves: the subnet in another region, and reserved addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ...core.creation import region_of
from ...core.errors import CloudError
from ...core.move import MovedSubnet
from ..client.api import Api
from ..instances.convert import clean_name, last_segment

if TYPE_CHECKING:
    from google.cloud import compute_v1


def subnets_in(
    api: Api, interfaces: Iterable[compute_v1.NetworkInterface], region: str
) -> tuple[MovedSubnet, ...] | str:
    """A subnet of each interface's network in ``region``: the one with the same name, else the first. A reason in words
    if there is none."""
    found = []
    for each in interfaces:
        network, name = last_segment(each.network), last_segment(each.subnetwork)
        try:
            subnets = _list_subnets(api, each.network, region)
        except CloudError as error:
            return f"the subnets of network {network} can't be read: {error.why or error.what}"
        if not subnets:
            return f"network {network} has no subnet in {region}"
        chosen = next((url for url in subnets if last_segment(url) == name), subnets[0])
        found.append(MovedSubnet(region, each.subnetwork, chosen))
    return tuple(found)


def _list_subnets(api: Api, network: str, region: str) -> list[str]:
    """Links, by name. The network may be of another project (Shared VPC)."""
    from google.cloud import compute_v1

    client = api.client(compute_v1.SubnetworksClient)
    project = network.partition("projects/")[2].partition("/")[0] or api.project

    def listed(*, request: dict[str, Any], retry: None, timeout: float) -> list[str]:
        pages = client.list(request=request, retry=retry, timeout=timeout).pages
        return sorted(
            each.self_link
            for page in pages
            for each in page.items
            if last_segment(each.network) == last_segment(network) and each.purpose in ("", "PRIVATE")
        )

    method: Callable[..., list[str]] = listed
    request = {"project": project, "region": region}
    return api.call(method, request, doing=f"list the subnets of {clean_name(region)}")


def reserved_addresses(api: Api, raw: compute_v1.Instance) -> Sequence[str]:
    """The static external addresses of an instance that does not run."""
    from google.cloud import compute_v1

    kept = [each.nat_i_p for nic in raw.network_interfaces for each in nic.access_configs if each.nat_i_p]
    if kept:  # an ephemeral one is released with the stop
        return kept
    client, path = api.client(compute_v1.AddressesClient), f"/{raw.zone.rpartition('/')[2]}/instances/{raw.name}"

    def listed(*, request: dict[str, Any], retry: None, timeout: float) -> list[str]:
        pages = client.list(request=request, retry=retry, timeout=timeout).pages
        found = [each for page in pages for each in page.items if each.address_type != "INTERNAL"]
        return [each.address for each in found if any(user.endswith(path) for user in each.users)]

    method: Callable[..., list[str]] = listed
    request = {"project": api.project, "region": region_of(last_segment(raw.zone))}
    try:
        return api.call(method, request, doing="list the reserved addresses")
    except CloudError as error:
        if error.code != "permission-denied":
            raise
        api.progress(f"Reserved addresses are not checked: {error.what}")
        return []
