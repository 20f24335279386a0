"""Firewall rules as a new project's default network has them."""

from __future__ import annotations

from .operations import BASE, new_id, timestamp
from .values import Json


def default_rules(project: str) -> list[Json]:
    return [
        rule(project, "default-allow-ssh", "0.0.0.0/0", ports=("22",)),
        rule(project, "default-allow-rdp", "0.0.0.0/0", ports=("3389",)),
        rule(project, "default-allow-internal", "10.128.0.0/9", ports=("0-65535",)),
    ]


def rule(
    project: str, name: str, *sources: str, ports: tuple[str, ...] = ("22",), allow: bool = True, priority: int = 65534
) -> Json:
    """An ingress rule for TCP."""
    path = f"projects/{project}/global/firewalls/{name}"
    return {
        "kind": "compute#firewall",
        "id": new_id(),
        "creationTimestamp": timestamp(),
        "name": name,
        "description": "",
        "network": f"{BASE}projects/{project}/global/networks/default",
        "priority": priority,
        "direction": "INGRESS",
        "sourceRanges": list(sources),
        "allowed" if allow else "denied": [{"IPProtocol": "tcp", "ports": list(ports)}],
        "logConfig": {"enable": False},
        "disabled": False,
        "selfLink": f"{BASE}{path}",
    }
