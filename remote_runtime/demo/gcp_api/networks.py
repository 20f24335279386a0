"""A project's networks: subnetworks, routers with Cloud NAT, firewall rules. Plain resources that can be read."""

from __future__ import annotations

from . import offers
from .operations import BASE, new_id, timestamp
from .values import Json


def network(project: str, name: str = "default") -> Json:
    path = f"projects/{project}/global/networks/{name}"
    subnetworks = [f"{BASE}projects/{project}/regions/{region}/subnetworks/{name}" for region in _regions()]
    return _resource("network", name, path) | {
        "autoCreateSubnetworks": True,
        "subnetworks": subnetworks,
        "routingConfig": {"routingMode": "REGIONAL"},
        "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL",
    }


def subnetwork(project: str, region: str, name: str = "default", network: str = "default") -> Json:
    return _regional("subnetwork", project, region, name, network) | {
        "ipCidrRange": f"10.{128 + 4 * _regions().index(region)}.0.0/20",
        "gatewayAddress": f"10.{128 + 4 * _regions().index(region)}.0.1",
        "privateIpGoogleAccess": False,
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
        "fingerprint": "42WmSpB8rSM=",
    }


def router(project: str, region: str, name: str = "nat-router", network: str = "default") -> Json:
    """A router whose Cloud NAT serves all subnetworks of ``network`` in ``region``."""
    nat = {
        "name": "nat",
        "type": "PUBLIC",
        "natIpAllocateOption": "AUTO_ONLY",
        "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
        "endpointTypes": ["ENDPOINT_TYPE_VM"],
        "enableEndpointIndependentMapping": False,
    }
    return _regional("router", project, region, name, network) | {"nats": [nat]}


def default_route(project: str, network: str = "default") -> Json:
    name = f"default-route-{network}"
    return _resource("route", name, f"projects/{project}/global/routes/{name}") | {
        "network": f"{BASE}projects/{project}/global/networks/{network}",
        "destRange": "0.0.0.0/0",
        "priority": 1000,
        "nextHopGateway": f"{BASE}projects/{project}/global/gateways/default-internet-gateway",
    }


def address(project: str, region: str, name: str, ip: str, user: str = "") -> Json:
    """A reserved external address; ``user``: the instance that has it (``projects/P/zones/Z/instances/I``)."""
    path = f"projects/{project}/regions/{region}/addresses/{name}"
    answer = _resource("address", name, path) | {
        "region": f"{BASE}projects/{project}/regions/{region}",
        "address": ip,
        "addressType": "EXTERNAL",
        "networkTier": "PREMIUM",
        "status": "IN_USE" if user else "RESERVED",
    }
    return answer | ({"users": [BASE + user]} if user else {})


def firewall_rule(
    project: str,
    name: str,
    *sources: str,
    ports: tuple[str, ...] = ("22",),
    allow: bool = True,
    priority: int = 65534,
    network: str = "default",
) -> Json:
    """An ingress rule for TCP."""
    return _resource("firewall", name, f"projects/{project}/global/firewalls/{name}") | {
        "network": f"{BASE}projects/{project}/global/networks/{network}",
        "priority": priority,
        "direction": "INGRESS",
        "sourceRanges": list(sources),
        "allowed" if allow else "denied": [{"IPProtocol": "tcp", "ports": list(ports)}],
        "logConfig": {"enable": False},
        "disabled": False,
    }


def nat_routers(project: str) -> list[Json]:
    """A router with Cloud NAT in each region."""
    return [router(project, region) for region in _regions()]


def default_resources(project: str) -> dict[str, list[Json]]:
    """Those of a new project: collection → resources."""
    return {
        "networks": [network(project)],
        "subnetworks": [subnetwork(project, region) for region in _regions()],
        "routers": [],
        "routes": [default_route(project)],
        "addresses": [],
        "firewalls": [
            firewall_rule(project, "default-allow-ssh", "0.0.0.0/0", ports=("22",)),
            firewall_rule(project, "default-allow-rdp", "0.0.0.0/0", ports=("3389",)),
            firewall_rule(project, "default-allow-internal", "10.128.0.0/9", ports=("0-65535",)),
        ],
    }


def _regions() -> list[str]:
    return sorted({offers.region_of(zone) for zone in offers.ZONES})


def _resource(kind: str, name: str, path: str) -> Json:
    return {
        "kind": f"compute#{kind}",
        "id": new_id(),
        "creationTimestamp": timestamp(),
        "name": name,
        "description": "",
        "selfLink": BASE + path,
    }


def _regional(kind: str, project: str, region: str, name: str, network: str) -> Json:
    return _resource(kind, name, f"projects/{project}/regions/{region}/{kind}s/{name}") | {
        "region": f"{BASE}projects/{project}/regions/{region}",
        "network": f"{BASE}projects/{project}/global/networks/{network}",
    }
