"""Evaluates firewall rules, as ``getEffectiveFirewalls`` returns them, for one connection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from ...core.fast_dataclass import fast_dataclass
from ..instances.convert import clean_name

if TYPE_CHECKING:
    from google.cloud import compute_v1

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Coverage = Literal["all", "some", "none"]
RuleAction = Literal["allow", "deny", "next"]

# https://cloud.google.com/iap/docs/using-tcp-forwarding#create-firewall-rule
IAP_RANGES = {4: ipaddress.ip_network("35.235.240.0/20"), 6: ipaddress.ip_network("2600:2d00:1:7::/64")}
ANYWHERE = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("::/0")}
TCP = ("tcp", "6", "all")


@fast_dataclass(frozen=True)
class Verdict:
    """``decided_by``: the deciding rule in words; empty for the implied deny. ``only_from``: ranges from which some
    connections are allowed nevertheless."""

    allowed: bool
    decided_by: str = ""
    only_from: tuple[str, ...] = ()


@fast_dataclass(frozen=True)
class _Rule:
    action: RuleAction
    coverage: Coverage
    description: str
    ranges: tuple[str, ...] = ()


def evaluate(
    effective: compute_v1.InstancesGetEffectiveFirewallsResponse,
    source: Network,
    port: int,
    instance: compute_v1.Instance,
) -> Verdict:
    """Whether all of ``source`` may connect to TCP ``port``.

    The order is Google's: hierarchical policies, rules of the VPC network, its global and its regional policies; in
    each the lowest priority number first, and deny before allow at the same number
    (https://cloud.google.com/firewall/docs/firewall-policies-overview#rule-evaluation).
    """
    only_from: list[str] = []
    for layer in _layers(effective, source, port, instance):
        for rule in layer:
            if rule.coverage == "some" and rule.action == "allow":
                only_from.extend(rule.ranges)
            if rule.coverage != "all":
                continue
            if rule.action == "next":
                break
            return Verdict(rule.action == "allow", rule.description, tuple(dict.fromkeys(only_from)))
    return Verdict(allowed=False, only_from=tuple(dict.fromkeys(only_from)))


def _layers(
    effective: compute_v1.InstancesGetEffectiveFirewallsResponse,
    source: Network,
    port: int,
    instance: compute_v1.Instance,
) -> Iterator[Iterable[_Rule]]:
    policies = list(effective.firewall_policys)
    yield from (_policy_rules(policy, source, port) for policy in policies if policy.type_ == "HIERARCHY")
    yield _network_rules(effective.firewalls, source, port, instance)
    for kind in ("NETWORK", "NETWORK_REGIONAL"):
        yield from (_policy_rules(policy, source, port) for policy in policies if policy.type_ == kind)


def _network_rules(
    firewalls: Iterable[compute_v1.Firewall], source: Network, port: int, instance: compute_v1.Instance
) -> Iterator[_Rule]:
    accounts = {account.email for account in instance.service_accounts}
    for firewall in sorted(firewalls, key=lambda each: (each.priority, not each.denied)):
        for_others = (firewall.target_tags and not set(firewall.target_tags) & set(instance.tags.items)) or (
            firewall.target_service_accounts and not set(firewall.target_service_accounts) & accounts
        )
        if firewall.disabled or firewall.direction == "EGRESS" or for_others:
            continue
        entries = firewall.denied or firewall.allowed
        if not any(_covers_port(entry.I_p_protocol, entry.ports, port) for entry in entries):
            continue
        narrowed = bool(firewall.source_tags or firewall.source_service_accounts)
        coverage = _coverage(firewall.source_ranges, source, narrowed=narrowed)
        description = f"firewall rule {clean_name(firewall.name)} (priority {firewall.priority})"
        action: RuleAction = "deny" if firewall.denied else "allow"
        yield _Rule(action, coverage, description, _clean_ranges(firewall.source_ranges))


def _policy_rules(
    policy: compute_v1.InstancesGetEffectiveFirewallsResponseEffectiveFirewallPolicy, source: Network, port: int
) -> Iterator[_Rule]:
    for each in sorted(policy.rules, key=lambda rule: rule.priority):
        match = each.match
        if each.disabled or each.direction == "EGRESS":
            continue
        if match.layer4_configs and not any(
            _covers_port(entry.ip_protocol, entry.ports, port) for entry in match.layer4_configs
        ):
            continue
        narrowed = bool(
            match.src_address_groups
            or match.src_fqdns
            or match.src_region_codes
            or match.src_secure_tags
            or match.src_threat_intelligences
            or match.src_networks
        )
        action: RuleAction = "deny" if each.action == "deny" else "next" if each.action == "goto_next" else "allow"
        description = f"rule {each.priority} of firewall policy {clean_name(policy.short_name or policy.name)}"
        coverage = _coverage(match.src_ip_ranges, source, narrowed=narrowed)
        yield _Rule(action, coverage, description, _clean_ranges(match.src_ip_ranges))


def _covers_port(protocol: str, ports: Sequence[str], port: int) -> bool:
    if protocol.lower() not in TCP:
        return False
    return not ports or any(_in_range(text, port) for text in ports)


def _in_range(text: str, port: int) -> bool:
    first, _, last = text.partition("-")
    try:
        return int(first) <= port <= int(last or first)
    except ValueError:
        return False


def _coverage(ranges: Sequence[str], source: Network, *, narrowed: bool) -> Coverage:
    """How much of ``source`` a rule covers. ``narrowed``: it has other conditions too, which cannot be evaluated
    here."""
    if not ranges:
        return "some" if narrowed else "all"
    coverage: Coverage = "some" if narrowed else "none"
    for text in ranges:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue
        if network.version != source.version:
            continue
        overlaps = source.overlaps(network)
        covers = overlaps and network.prefixlen <= source.prefixlen
        if covers and not narrowed:
            return "all"
        if overlaps:
            coverage = "some"
    return coverage


def _clean_ranges(ranges: Sequence[str]) -> tuple[str, ...]:
    return tuple(clean_name(text) for text in ranges)
