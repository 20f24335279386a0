"""Explains a failed connection by the firewall in front of the instance, with the one command that opens it."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from ...core.errors import CloudError, RemoteRuntimeError, SshError, from_code
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Instance
from ...core.shell_command import shell_command
from ..client.api import Api
from ..instances.convert import clean_name, gcloud_command
from . import firewall_rules

if TYPE_CHECKING:
    from google.cloud import compute_v1

BACKEND_UNREACHABLE = "iap-backend-unreachable"


@fast_dataclass(frozen=True)
class _Route:
    """``source``: the addresses from which the connection comes, as the firewall sees it. ``description``: in words."""

    source: firewall_rules.Network
    description: str
    verdict: firewall_rules.Verdict


def explain(
    api: Api,
    instance: Instance,
    raw: compute_v1.Instance,
    *,
    code: str,
    connect: str,
    through_iap: RemoteRuntimeError | None,
) -> RemoteRuntimeError | None:
    """The cause of ``code`` by the route ``connect``, and of ``through_iap`` if IAP was tried afterwards; None if the
    firewall is not the cause."""
    interface = raw.network_interfaces[0]
    request = api.request_for(instance, network_interface=interface.name or "nic0")
    effective = api.call(
        api.instances.get_effective_firewalls, request, doing=f"read the firewall rules of {instance.name}"
    )

    def route(source: firewall_rules.Network, words: str) -> _Route:
        return _Route(source, words, firewall_rules.evaluate(effective, source, instance.port, raw))

    proxy = firewall_rules.IAP_RANGES[4 if interface.network_i_p else 6]
    iap = route(proxy, f"Identity-Aware Proxy ({proxy})")
    tried = iap if connect == "iap" else route(*_local_source(instance, connect))
    if tried is not iap and tried.verdict.allowed:
        return None
    last_code = through_iap.code if through_iap else code
    if iap.verdict.allowed and last_code == BACKEND_UNREACHABLE:
        return _no_server_error(instance, iap)
    if tried.verdict.allowed:
        return None
    what, why = _blocked_message(
        instance, tried, None if through_iap is None or iap.verdict.allowed else iap, interface
    )
    if not iap.verdict.allowed:
        to_open = iap if last_code == BACKEND_UNREACHABLE else tried
        return CloudError("firewall-blocked", what, why, _allow_hint(api, instance, interface, to_open.source))
    if through_iap is None:
        return CloudError(
            "firewall-blocked", what, why, "Set `target.connect: iap`: the firewall allows Identity-Aware Proxy"
        )
    return from_code(through_iap.code, what, why, through_iap.hint)


def _local_source(instance: Instance, connect: str) -> tuple[firewall_rules.Network, str]:
    """Behind NAT this computer's public address is unknown: then any address."""
    if connect == "internal" and (ours := _our_address(instance.address)):
        return ipaddress.ip_network(ours), f"this computer ({ours})"
    return firewall_rules.ANYWHERE[6 if ":" in instance.address else 4], "the internet"


def _our_address(towards: str) -> str:
    """This computer's address for connections to ``towards``; sends no packet."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in towards else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((towards, 22))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _no_server_error(instance: Instance, iap: _Route) -> SshError:
    return SshError(
        BACKEND_UNREACHABLE,
        f"No SSH server listens on tcp:{instance.port}",
        f"the firewall allows {iap.description}, which can't connect",
        f"See the boot log with {gcloud_command('instances', 'get-serial-port-output', instance)}",
    )


def _blocked_message(
    instance: Instance, tried: _Route, other: _Route | None, interface: compute_v1.NetworkInterface
) -> tuple[str, str]:
    """What and why: the route ``tried`` is blocked, and ``other`` too."""
    verdict = tried.verdict
    if verdict.only_from:
        ranges = [_describe_range(each) for each in verdict.only_from[:5]]
        what = f"The firewall allows tcp:{instance.port} only from {', '.join(ranges)}"
    elif other:
        what = f"The firewall blocks tcp:{instance.port} from {tried.description} and from {other.description}"
    else:
        what = f"The firewall blocks tcp:{instance.port} from {tried.description}"
    if verdict.decided_by:
        return what, f"{verdict.decided_by} denies {'all others' if verdict.only_from else 'it'}"
    return what, f"no rule of network {_network_name(interface)} allows {'others' if verdict.only_from else 'it'}"


def _describe_range(source: str) -> str:
    is_iap = source in map(str, firewall_rules.IAP_RANGES.values())
    return f"Identity-Aware Proxy ({source})" if is_iap else source


def _allow_hint(
    api: Api, instance: Instance, interface: compute_v1.NetworkInterface, source: firewall_rules.Network
) -> str:
    parts = interface.network.split("/")
    # A shared VPC network belongs to another project.
    owner = clean_name(parts[parts.index("projects") + 1]) if "projects" in parts[:-1] else api.project
    yours = f"YOUR_ADDRESS/{source.max_prefixlen}"
    ranges = yours if source in firewall_rules.ANYWHERE.values() else str(source)
    create = ("gcloud", "compute", "firewall-rules", "create", f"allow-ssh-to-{instance.name}", f"--project={owner}")
    rule = (f"--network={_network_name(interface)}", f"--allow=tcp:{instance.port}", f"--source-ranges={ranges}")
    return f"Run {shell_command(*create, *rule)}"


def _network_name(interface: compute_v1.NetworkInterface) -> str:
    return clean_name(interface.network.rsplit("/", 1)[-1]) or "default"
