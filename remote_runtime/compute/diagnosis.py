"""Why SSH does not reach or enter an instance: Compute Engine is asked, and looks for one cause that explains it."""

from __future__ import annotations

import ipaddress
import shlex
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeVar

from ..errors import CloudError, MachineError, RemoteRuntimeError, SshError
from ..model import Instance
from . import console, firewall, history, power, switches
from .api import Api
from .seen import status_of, whereabouts, word

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

# A boot that began longer ago and still shows no login has stopped talking to the console.
BOOT_TAKES_S = 900.0
LOG_IN = "compute.instances.osLogin"
ADMIN_LOG_IN = "compute.instances.osAdminLogin"
ADD_KEY = "compute.instances.setMetadata"
# The login is refused, so the network is open.
KEY_CODES = ("no-usable-key", "passphrase-needed", "two-factor-needed")


def causes(api: Api, instance: Instance, *, code: str, connect: str) -> list[RemoteRuntimeError]:
    """What explains that SSH to ``instance`` failed with ``code``, the most certain first; none when all looks well.

    A question that these credentials may not ask is left out. Raises ``CloudError`` ``cloud-unreachable``.
    """
    try:
        raw = power.same_instance(api, instance)
    except CloudError as exc:
        if exc.code == "instance-not-found":
            return [exc]
        raise
    if status_of(raw) != "RUNNING":
        return [not_running(api, instance, status_of(raw))]
    return list(_of_running(api, instance, raw, code, connect))


def not_running(api: Api, instance: Instance, status: str) -> RemoteRuntimeError:
    if status in power.COMING_UP:
        return SshError("machine-booting", f"{instance.name} is just being started", f"its status is {status}")
    stop = history.last_stop(api, instance)
    why = f"{stop.words}; its status is {status}" if stop else f"its status is {status}"
    return CloudError("instance-stopped", f"{instance.name} is not running", why)


def _of_running(
    api: Api, instance: Instance, raw: compute_v1.Instance, code: str, connect: str
) -> Iterator[RemoteRuntimeError]:
    sign = _ask(api, lambda: _console(api, instance)) or console.Sign("unknown")
    if broken := _broken(instance, sign):
        yield broken
    if code in KEY_CODES:
        closed = _ask(api, lambda: _login(api, instance, raw))
    else:
        closed = _ask(api, lambda: _firewall(api, instance, raw, connect))
    if closed:
        yield closed
    if sign.state == "booting" and _started_lately(raw):
        yield SshError(
            "machine-booting",
            f"{instance.name} has not finished booting",
            "its serial console shows no SSH server and no login yet",
            "`timeouts.ssh: 3m` in the profile waits longer",
        )


def _ask(api: Api, question: Callable[[], T]) -> T | None:
    """None also when the question may not be asked."""
    try:
        return question()
    except CloudError as exc:
        if exc.code == "cloud-unreachable":
            raise
        api.tell(f"Not told why: {exc.what}")
        return None


def _console(api: Api, instance: Instance) -> console.Sign:
    request = {"project": api.project, "zone": instance.zone, "instance": instance.name, "port": 1}
    output = api.call(
        api.instances.get_serial_port_output, request, doing=f"read the serial console of {instance.name}"
    )
    return console.read(output.contents)


def _broken(instance: Instance, sign: console.Sign) -> RemoteRuntimeError | None:
    says = f'its serial console says "{sign.line}"'
    see = f"See all of it: gcloud compute instances get-serial-port-output {whereabouts(instance)}"
    if sign.state == "panic":
        return SshError("machine-not-booted", f"The kernel of {instance.name} panicked", says, see)
    if sign.state == "emergency":
        return SshError("machine-not-booted", f"{instance.name} is in emergency mode", says, see)
    if sign.state == "no-sshd":
        return SshError("machine-not-booted", f"The SSH server of {instance.name} did not start", says, see)
    if sign.state == "disk-full":
        hint = f"Make the disk larger, then restart: gcloud compute disks resize {whereabouts(instance)} --size=SIZE"
        return MachineError("disk-full", f"The disk of {instance.name} is full", says, hint)
    return None


def _firewall(api: Api, instance: Instance, raw: compute_v1.Instance, connect: str) -> CloudError | None:
    interface = raw.network_interfaces[0]
    request = {
        "project": api.project,
        "zone": instance.zone,
        "instance": instance.name,
        "network_interface": interface.name or "nic0",
    }
    effective = api.call(
        api.instances.get_effective_firewalls, request, doing=f"read the firewall rules of {instance.name}"
    )
    source, from_where = _source(instance, connect)
    verdict = firewall.judge(effective, source, instance.port, raw)
    if verdict.allowed:
        return None
    network = word(interface.network.rsplit("/", 1)[-1]) or "default"
    if verdict.only_from:
        what = f"The firewall lets tcp:{instance.port} in from {', '.join(verdict.only_from[:5])} only"
    else:
        what = f"The firewall lets no tcp:{instance.port} in from {from_where}"
    why = f"{verdict.by} refuses it" if verdict.by else f"no rule of network {network} allows it"
    return CloudError("firewall-blocked", what, why, _opening(api, instance, interface, source))


def _source(instance: Instance, connect: str) -> tuple[firewall.Network, str]:
    """Where our connection comes from, as the firewall sees it. Behind NAT we cannot know our public address."""
    version = 6 if ":" in instance.address else 4
    if connect == "iap":
        return firewall.IAP_RANGES[version], f"Identity-Aware Proxy ({firewall.IAP_RANGES[version]})"
    if connect == "internal" and (ours := _our_address(instance.address)):
        return ipaddress.ip_network(ours), f"this computer ({ours})"
    return firewall.ANYWHERE[version], "the internet"


def _our_address(towards: str) -> str:
    """The address that this computer uses towards ``towards``; no packet is sent."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in towards else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((towards, 22))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _opening(api: Api, instance: Instance, interface: compute_v1.NetworkInterface, source: firewall.Network) -> str:
    parts = interface.network.split("/")
    network = word(parts[-1]) or "default"
    # A shared network belongs to another project.
    owner = word(parts[parts.index("projects") + 1]) if "projects" in parts[:-1] else api.project
    ranges = "YOUR_ADDRESS/32" if source in firewall.ANYWHERE.values() else str(source)
    command = (
        f"gcloud compute firewall-rules create allow-ssh-to-{instance.name} --project={shlex.quote(owner)} "
        f"--network={shlex.quote(network)} --allow=tcp:{instance.port} --source-ranges={ranges}"
    )
    return f"Let it in: {command}"


def _login(api: Api, instance: Instance, raw: compute_v1.Instance) -> RemoteRuntimeError | None:
    if not switches.is_on(api, raw, "enable-oslogin"):
        return _missing(api, instance, (ADD_KEY,), "put a key on it", "roles/compute.instanceAdmin.v1")
    if missing := _missing(api, instance, (LOG_IN, ADMIN_LOG_IN), "log in to it", "roles/compute.osLogin"):
        return missing
    return SshError(
        "os-login-required",
        f"{instance.name} lets only OS Login users in",
        "`enable-oslogin` is true in its metadata: keys in metadata and files do not count",
        "See your login name and keys: gcloud compute os-login describe-profile",
    )


def _missing(api: Api, instance: Instance, permissions: tuple[str, ...], doing: str, role: str) -> CloudError | None:
    """None when one of ``permissions`` is held."""
    request = {
        "project": api.project,
        "zone": instance.zone,
        "resource": instance.name,
        "test_permissions_request_resource": {"permissions": list(permissions)},
    }
    answer = api.call(api.instances.test_iam_permissions, request, doing=f"ask for the permissions on {instance.name}")
    if set(permissions) & set(answer.permissions):
        return None
    return CloudError(
        "permission-denied",
        f"These credentials may not {doing}: {permissions[0]} is missing",
        f"Compute Engine says so for {instance.name}",
        f"A project owner can grant it: gcloud compute instances add-iam-policy-binding {whereabouts(instance)} "
        f"--member=user:EMAIL --role={role}",
    )


def _started_lately(raw: compute_v1.Instance) -> bool:
    try:
        since = datetime.fromisoformat((raw.last_start_timestamp or raw.creation_timestamp).replace("Z", "+00:00"))
    except ValueError:
        return True
    return (datetime.now(timezone.utc) - since).total_seconds() < BOOT_TAKES_S
