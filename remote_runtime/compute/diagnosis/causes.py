"""Why SSH does not reach or enter an instance: Compute Engine is asked, and looks for one cause that explains it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeVar

from ...core.errors import CloudError, MachineError, RemoteRuntimeError, SshError
from ...core.model import Instance
from ..client import metadata_flags
from ..client.api import Api
from ..instances import power, stop_reason
from ..instances.convert import status_of, whereabouts
from . import firewall_cause, serial_console

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


def causes(
    api: Api, instance: Instance, *, code: str, connect: str, through_iap: RemoteRuntimeError | None = None
) -> list[RemoteRuntimeError]:
    """What explains that SSH to ``instance`` failed with ``code``, and then with ``through_iap``, the most certain
    first; none when all looks well.

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

    def firewall() -> RemoteRuntimeError | None:
        return firewall_cause.explain(api, instance, raw, code=code, connect=connect, through_iap=through_iap)

    return list(_of_running(api, instance, raw, code, firewall))


def not_running(api: Api, instance: Instance, status: str) -> RemoteRuntimeError:
    if status in power.COMING_UP:
        return SshError("machine-booting", f"{instance.name} is just being started", f"its status is {status}")
    stop = stop_reason.last_stop(api, instance)
    why = f"{stop.words}; its status is {status}" if stop else f"its status is {status}"
    return CloudError("instance-stopped", f"{instance.name} is not running", why)


def _of_running(
    api: Api,
    instance: Instance,
    raw: compute_v1.Instance,
    code: str,
    firewall: Callable[[], RemoteRuntimeError | None],
) -> Iterator[RemoteRuntimeError]:
    sign = _ask(api, lambda: _console(api, instance)) or serial_console.Sign("unknown")
    if broken := _broken(instance, sign):
        yield broken
    closed = _ask(api, (lambda: _login(api, instance, raw)) if code in KEY_CODES else firewall)
    booting = sign.state == "booting" and _started_lately(raw)
    if closed and not (booting and closed.code == firewall_cause.NOTHING_THERE):
        yield closed
    if booting:
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


def _console(api: Api, instance: Instance) -> serial_console.Sign:
    request = {"project": api.project, "zone": instance.zone, "instance": instance.name, "port": 1}
    output = api.call(
        api.instances.get_serial_port_output, request, doing=f"read the serial console of {instance.name}"
    )
    return serial_console.read(output.contents)


def _broken(instance: Instance, sign: serial_console.Sign) -> RemoteRuntimeError | None:
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


def _login(api: Api, instance: Instance, raw: compute_v1.Instance) -> RemoteRuntimeError | None:
    if not metadata_flags.is_on(api, raw, "enable-oslogin"):
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
