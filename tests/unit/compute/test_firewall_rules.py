"""Which connections the effective firewall rules let in."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from google.cloud import compute_v1

from remote_runtime.compute.diagnosis import firewall_rules
from remote_runtime.compute.diagnosis.firewall_rules import Verdict
from remote_runtime.demo.gcp_api.networks import firewall_rule

INTERNET, IAP = firewall_rules.ANYWHERE[4], firewall_rules.IAP_RANGES[4]
US = ipaddress.ip_network("198.51.100.7/32")


def judge(*rules: Any, policies: Any = (), source: Any = INTERNET, port: int = 22, **instance: Any) -> Verdict:
    effective = compute_v1.InstancesGetEffectiveFirewallsResponse()
    effective.firewalls = [compute_v1.Firewall.from_json(json.dumps(each)) for each in rules]
    kind = compute_v1.InstancesGetEffectiveFirewallsResponseEffectiveFirewallPolicy
    effective.firewall_policys = [kind.from_json(json.dumps(each)) for each in policies]
    return firewall_rules.evaluate(effective, source, port, compute_v1.Instance(**instance))


def allow(*sources: str, ports: tuple[str, ...] = ("22",), priority: int = 1000) -> Any:
    return firewall_rule("demo", "let-in", *sources, ports=ports, priority=priority)


def deny(*sources: str, priority: int = 1000) -> Any:
    return firewall_rule("demo", "keep-out", *sources, allow=False, priority=priority)


def policy(kind: str, action: str, source: str, priority: int = 10) -> Any:
    match = {"srcIpRanges": [source], "layer4Configs": [{"ipProtocol": "tcp", "ports": ["22"]}]}
    rules = [{"priority": priority, "direction": "INGRESS", "action": action, "match": match}]
    return {"name": "123", "shortName": "company", "type": kind, "rules": rules}


def test_what_no_rule_allows_is_refused() -> None:
    assert judge() == Verdict(allowed=False)
    assert not judge(allow("0.0.0.0/0", ports=("80", "443"))).allowed
    assert not judge(allow("0.0.0.0/0") | {"disabled": True}).allowed
    assert not judge(allow("0.0.0.0/0") | {"direction": "EGRESS"}).allowed
    assert not judge(allow("::/0")).allowed


@pytest.mark.parametrize("ports", [("22",), ("20-25",), ("80", "1-65535"), ()])
def test_a_rule_for_the_port_lets_it_in(ports: tuple[str, ...]) -> None:
    assert judge(allow("0.0.0.0/0", ports=ports)).allowed


def test_a_rule_for_some_sources_tells_which() -> None:
    assert judge(allow("203.0.113.0/24", "35.235.240.0/20")) == Verdict(
        allowed=False, only_from=("203.0.113.0/24", "35.235.240.0/20")
    )
    assert judge(allow("198.51.100.0/24"), source=US).allowed
    assert not judge(allow("198.51.101.0/24"), source=US).allowed
    assert judge(allow("35.235.240.0/20"), source=IAP).allowed
    assert judge(allow("35.235.240.0/21"), source=IAP) == Verdict(allowed=False, only_from=("35.235.240.0/21",))


def test_the_lowest_number_decides_and_a_refusal_before_a_permission() -> None:
    assert judge(allow("0.0.0.0/0", priority=900), deny("0.0.0.0/0")).allowed
    refused = judge(allow("0.0.0.0/0"), deny("0.0.0.0/0"))
    assert refused == Verdict(allowed=False, decided_by="firewall rule keep-out (priority 1000)")


def test_rules_for_other_instances_do_not_count() -> None:
    tagged = allow("0.0.0.0/0") | {"targetTags": ["web"]}
    assert not judge(tagged).allowed
    assert judge(tagged, tags=compute_v1.Tags(items=["web"])).allowed
    owned = allow("0.0.0.0/0") | {"targetServiceAccounts": ["me@demo"]}
    assert not judge(owned).allowed
    assert judge(owned, service_accounts=[compute_v1.ServiceAccount(email="me@demo")]).allowed


def test_sources_that_are_tags_are_not_the_internet() -> None:
    from_instances = allow() | {"sourceTags": ["bastion"]}
    del from_instances["sourceRanges"]
    assert not judge(from_instances).allowed


def test_the_organisations_policy_comes_before_and_the_networks_after_the_rules() -> None:
    refused = judge(allow("0.0.0.0/0"), policies=[policy("HIERARCHY", "deny", "0.0.0.0/0")])
    assert refused == Verdict(allowed=False, decided_by="rule 10 of firewall policy company")
    assert judge(policies=[policy("HIERARCHY", "allow", "0.0.0.0/0")]).allowed
    assert judge(allow("0.0.0.0/0"), policies=[policy("NETWORK", "deny", "0.0.0.0/0")]).allowed
    assert judge(policies=[policy("NETWORK", "allow", "0.0.0.0/0")]).allowed
    passed_on = policy("HIERARCHY", "goto_next", "0.0.0.0/0")
    passed_on["rules"] += policy("HIERARCHY", "deny", "0.0.0.0/0", priority=20)["rules"]
    assert judge(allow("0.0.0.0/0"), policies=[passed_on]).allowed
