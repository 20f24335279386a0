"""Checks of the network: that it exists, that SSH can get to the VM, and that the VM can get to the internet."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable

from ...core.model import Finding
from ...core.shell_command import shell_command
from ..client.error_mapping import NotFound
from ..client.rest import Json
from ..diagnosis import firewall_rules
from ..instances.convert import last_segment
from ..prices.shapes import dicts
from .request import SSH_PORT, CreationRequest

# Their images have Jupyter; others need it to be installed from a package registry.
JUPYTER_IMAGES = ("deeplearning-platform-release", "ml-images")
EXTERNAL_HINT = "set `target.create.external_address: true`"
PRIVATE_RANGES = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
ALL_SUBNETS = ("ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES")


def check_network(request: CreationRequest) -> Finding:
    """Raises ``CloudError``, as the other checks."""
    project = request.network_project
    if not request.network:
        return _check_subnets(request, f"subnet {request.subnet}")
    try:
        network = request.api().get(
            request.network_path("global", "networks", request.network), doing=f"read the network {request.network}"
        )
    except NotFound:
        create = shell_command(
            "gcloud", "compute", "networks", "create", request.network, "--subnet-mode=auto", f"--project={project}"
        )
        what = f"Project {project} has no network {request.network}"
        hint = f"Set `target.create.network` to one that exists, or run {create}"
        return Finding("network", "failed", what, "a VM needs a network", hint, "instance-not-created")
    if request.subnet:
        return _check_subnets(request, f"network {request.network}, subnet {request.subnet}")
    if not network.get("autoCreateSubnetworks"):
        what = f"The network {request.network} has no automatic subnets"
        hint = "Set `target.create.subnet` to one of the zone's region"
        return Finding("network", "failed", what, "its mode is custom", hint, "instance-not-created")
    return Finding("network", "ok", f"{request.network}, in {', '.join(request.regions)}")


def _check_subnets(request: CreationRequest, words: str) -> Finding:
    """``words``: the network or the subnet."""
    missing = [region for region in request.regions if _subnet(request, region) is None]
    if not missing:
        return Finding("network", "ok", f"{words}, in {', '.join(request.regions)}")
    what = f"Project {request.network_project} has no subnet {request.subnet} in {', '.join(missing)}"
    listing = shell_command("gcloud", "compute", "networks", "subnets", "list", f"--project={request.network_project}")
    hint = f"Set `target.create.subnet` to one of {listing}"
    return Finding("network", "failed", what, "a VM needs a subnet in its region", hint, "instance-not-created")


def check_firewall(request: CreationRequest) -> Finding:
    """Whether a rule lets `up` connect to SSH: from Identity-Aware Proxy, or to an external address."""
    from google.cloud import compute_v1

    check, network = "creation-firewall", _network_of(request)
    if request.connect == "internal":
        return Finding(check, "skipped", "skipped", "requires the VM: `target.connect` is internal")
    settings, verdicts = request.settings, []
    account = settings.service_account or ""
    vm = compute_v1.Instance(
        tags=compute_v1.Tags(items=list(settings.tags)),
        service_accounts=[compute_v1.ServiceAccount(email=account)] if "@" in account else [],
    )
    iap, anywhere = firewall_rules.IAP_RANGES[4], firewall_rules.ANYWHERE[4]
    sources = {"iap": (iap,), "external": (anywhere,), "auto": (iap,) if request.uses_iap else (anywhere, iap)}
    for region in request.regions:
        answer = request.api().get(
            request.network_path("regions", region, "firewallPolicies", "getEffectiveFirewalls"),
            {"network": f"projects/{request.network_project}/global/networks/{network}"},
            doing=f"read the firewall rules of {network}",
        )
        effective = compute_v1.InstancesGetEffectiveFirewallsResponse.from_json(
            json.dumps(answer), ignore_unknown_fields=True
        )
        found = [firewall_rules.evaluate(effective, each, SSH_PORT, vm) for each in sources[request.connect]]
        verdicts += [next((each for each in found if each.allowed), found[0])]
    blocked = next((each for each in verdicts if not each.allowed), None)
    who = f"Identity-Aware Proxy ({iap})" if request.uses_iap else "the internet"
    if blocked is None:
        return Finding(check, "ok", f"{network} allows SSH from {who}")
    public = [each for each in blocked.only_from if not _is_private(each)]
    if public:
        what = f"{network} allows SSH only from {', '.join(public[:5])}"
        return Finding(check, "warning", what, f"`up` connects from {who}", _allow_hint(request, network))
    why = f"{blocked.decided_by} denies it" if blocked.decided_by else f"no rule of network {network} allows it"
    what = f"The firewall blocks tcp:{SSH_PORT} from {who}"
    return Finding(check, "failed", what, why, _allow_hint(request, network), "firewall-blocked")


def _is_private(source: str) -> bool:
    """Whether no address of the internet is in the range."""
    try:
        network = ipaddress.ip_network(source, strict=False)
    except ValueError:
        return False
    return isinstance(network, ipaddress.IPv4Network) and any(map(network.subnet_of, PRIVATE_RANGES))


def _allow_hint(request: CreationRequest, network: str) -> str:
    source = str(firewall_rules.IAP_RANGES[4]) if request.uses_iap else "YOUR_ADDRESS/32"
    name = f"allow-ssh-from-iap-{network}" if request.uses_iap else f"allow-ssh-{network}"
    create = ("gcloud", "compute", "firewall-rules", "create", name, f"--project={request.network_project}")
    tags = [f"--target-tags={','.join(request.settings.tags)}"] if request.settings.tags else []
    rule = (f"--network={network}", f"--allow=tcp:{SSH_PORT}", f"--source-ranges={source}", *tags)
    return f"Run {shell_command(*create, *rule)}"


def check_egress(request: CreationRequest) -> Finding:
    """Whether the VM can install Jupyter: an external address, Cloud NAT, a route through another machine, or an image
    that has it."""
    if request.settings.external_address:
        return Finding("egress", "ok", "The VM has an external address")
    network = _network_of(request)
    without = [region for region in request.regions if not _has_nat(request, network, region)]
    if not without:
        return Finding("egress", "ok", f"Cloud NAT in {', '.join(request.regions)}")
    where = ", ".join(without)
    if any(f"projects/{project}/" in request.image for project in JUPYTER_IMAGES):
        return Finding("egress", "ok", f"The image has Jupyter; the VM has no internet access in {where}")
    if not request.needs_internet:
        return Finding("egress", "ok", f"The profile needs no internet access, which the VM lacks in {where}")
    if _has_other_route(request, network):
        return Finding("egress", "ok", f"A default route of {network} leads through another machine")
    what = f"The VM would have no internet access in {where}"
    why = "it has no external address and its subnet no Cloud NAT; `up` installs Jupyter from the internet"
    return Finding("egress", "failed", what, why, _nat_hint(request, network, without[0]), "no-egress")


def _nat_hint(request: CreationRequest, network: str, region: str) -> str:
    router = f"nat-{network}-{region}"
    of_region = (f"--region={region}", f"--project={request.network_project}")
    first = shell_command("gcloud", "compute", "routers", "create", router, f"--network={network}", *of_region)
    second = shell_command(
        "gcloud", "compute", "routers", "nats", "create", "nat", f"--router={router}",
        "--auto-allocate-nat-external-ips", "--nat-all-subnet-ip-ranges", *of_region,
    )  # fmt: skip
    return f"Run {first} and {second}, or {EXTERNAL_HINT}"


def _network_of(request: CreationRequest) -> str:
    """The name of the network, also where the profile names only the subnet."""
    if request.network:
        return request.network
    subnets = (_subnet(request, region) for region in request.regions)
    return next((last_segment(str(subnet.get("network"))) for subnet in subnets if subnet), "default")


def _subnet(request: CreationRequest, region: str) -> Json | None:
    path = request.network_path("regions", region, "subnetworks", request.subnet)
    try:
        return request.api().get(path, doing=f"read the subnet {request.subnet} in {region}")
    except NotFound:
        return None


def _has_nat(request: CreationRequest, network: str, region: str) -> bool:
    """Whether a router of the network has Cloud NAT for the subnet."""
    subnet = request.subnet or network
    for page in request.api().pages(
        request.network_path("regions", region, "routers"), doing=f"read the routers of {region}"
    ):
        for router in dicts(page.get("items")):
            if last_segment(str(router.get("network"))) == network and _serves(dicts(router.get("nats")), subnet):
                return True
    return False


def _serves(nats: Iterable[Json], subnet: str) -> bool:
    return any(
        nat.get("type", "PUBLIC") == "PUBLIC"
        and (
            nat.get("sourceSubnetworkIpRangesToNat") in ALL_SUBNETS
            or subnet in [last_segment(str(each.get("name"))) for each in dicts(nat.get("subnetworks"))]
        )
        for nat in nats
    )


def _has_other_route(request: CreationRequest, network: str) -> bool:
    """Whether a default route leads elsewhere than to Google's gateway: a NAT VM, a proxy, a VPN."""
    for page in request.api().pages(request.network_path("global", "routes"), doing="read the routes"):
        for route in dicts(page.get("items")):
            is_default = route.get("destRange") in ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1")
            if is_default and last_segment(str(route.get("network"))) == network and not route.get("nextHopGateway"):
                return True
    return False
