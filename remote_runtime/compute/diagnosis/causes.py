"""Finds out from Compute Engine why SSH to an instance fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeVar

from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ...core.errors import CloudError, MachineError, RemoteRuntimeError, SshError
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Instance
from ...core.sanitize import clean_line
from ..client.api import Api, open_api
from ..instances import power, search, stop_reason
from ..instances.convert import Connect, gcloud_command, seconds_since, status_of
from . import firewall_cause

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

MAX_LINE_CHARS = 200
_BOOT_START = re.compile(r"^.*\bLinux version \d", re.MULTILINE)
_UP = re.compile(
    r"^\S+ login: ?$|Reached target .*(Multi-User|Graphical)|Started .*(OpenBSD Secure Shell|OpenSSH)"
    r"|sshd\[\d+\]: Server listening",
    re.MULTILINE,
)

BootState = Literal["panic", "emergency", "disk-full", "no-sshd", "booting", "up", "unknown"]
_PATTERNS: tuple[tuple[BootState, re.Pattern[str]], ...] = (
    ("panic", re.compile(r"Kernel panic - not syncing.*")),
    (
        "emergency",
        re.compile(r"You are in (?:emergency|rescue) mode|Entering emergency mode|Give root password for maintenance"),
    ),
    ("disk-full", re.compile(r".*no space left on device.*", re.IGNORECASE)),
    ("no-sshd", re.compile(r"Failed to start .*(?:OpenBSD Secure Shell|OpenSSH|\bsshd?\.service).*")),
)
_NOT_BOOTED = {
    "panic": "The kernel of {} panicked",
    "emergency": "{} is in emergency mode",
    "no-sshd": "The SSH server of {} did not start",
}
# After this time, a console without a login prompt means that the boot no longer writes to it.
MAX_BOOT_S = 900.0
OS_LOGIN_PERMISSION = "compute.instances.osLogin"
OS_ADMIN_LOGIN_PERMISSION = "compute.instances.osAdminLogin"
SET_METADATA_PERMISSION = "compute.instances.setMetadata"
# The server refused the login, so the firewall is open.
KEY_ERROR_CODES = ("no-usable-key", "passphrase-needed", "two-factor-needed")


def diagnose(
    instance: Instance,
    code: str,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    connect: Connect = "external",
    through_iap: RemoteRuntimeError | None = None,
) -> list[RemoteRuntimeError]:
    """The causes that explain why SSH to ``instance`` failed with ``code``, the most certain first; empty if Compute
    Engine shows nothing wrong. ``connect``: the route that was tried; ``through_iap``: the error of an attempt through
    IAP afterwards, if there was one.

    The causes: `instance-stopped`, `instance-not-found`, `firewall-blocked`, `machine-booting`, `machine-not-booted`,
    `disk-full`, `os-login-required`, `permission-denied`; and the code of ``through_iap`` where the firewall allows
    only that route. Queries that these credentials have no permission for are skipped. Raises ``cloud-unreachable``.
    """
    api = open_api(environ, progress=progress, deadline=deadline, project=instance.project or "")
    try:
        raw = power.reload(api, instance)
    except CloudError as exc:
        if exc.code == "instance-not-found":
            return [exc]
        raise
    if status_of(raw) != "RUNNING":
        return [not_running_error(api, instance, raw)]

    def firewall() -> RemoteRuntimeError | None:
        return firewall_cause.explain(api, instance, raw, code=code, connect=connect, through_iap=through_iap)

    return list(_running_causes(api, instance, raw, code, firewall))


def not_running_error(api: Api, instance: Instance, raw: compute_v1.Instance) -> RemoteRuntimeError:
    status = status_of(raw)
    if status in power.COMING_UP:
        return SshError("machine-booting", f"{instance.name} is starting", f"its status is {status}")
    stop = stop_reason.stop_reason(api, instance, raw)
    why = f"{stop.description}; its status is {status}" if stop else f"its status is {status}"
    return CloudError("instance-stopped", f"{instance.name} is not running", why)


def _running_causes(
    api: Api,
    instance: Instance,
    raw: compute_v1.Instance,
    code: str,
    firewall: Callable[[], RemoteRuntimeError | None],
) -> Iterator[RemoteRuntimeError]:
    boot = _try_query(api, lambda: _boot_status(api, instance)) or BootStatus("unknown")
    if failure := _boot_failure(instance, boot):
        yield failure
    closed = _try_query(api, (lambda: _login_cause(api, instance, raw)) if code in KEY_ERROR_CODES else firewall)
    booting = boot.state == "booting" and _started_recently(raw)
    if closed and not (booting and closed.code == firewall_cause.BACKEND_UNREACHABLE):
        yield closed
    if booting:
        yield SshError(
            "machine-booting",
            f"{instance.name} has not finished booting",
            "its serial console shows no SSH server and no login yet",
            "Set `timeouts.ssh: 3m` in the profile to wait longer",
        )


def _try_query(api: Api, query: Callable[[], T]) -> T | None:
    """None also if the credentials have no permission for the query."""
    try:
        return query()
    except CloudError as exc:
        if exc.code == "cloud-unreachable":
            raise
        api.progress(f"Can't read the cause: {exc.what}")
        return None


def _boot_status(api: Api, instance: Instance) -> BootStatus:
    request = api.request_for(instance, port=1)
    output = api.call(
        api.instances.get_serial_port_output, request, doing=f"read the serial console of {instance.name}"
    )
    return parse_serial_output(output.contents)


def _boot_failure(instance: Instance, boot: BootStatus) -> RemoteRuntimeError | None:
    why = f'its serial console shows "{boot.line}"'
    if boot.state == "disk-full":
        hint = f"Run {gcloud_command('disks', 'resize', instance, '--size=SIZE')}, then restart the VM"
        return MachineError("disk-full", f"The disk of {instance.name} is full", why, hint)
    if what := _NOT_BOOTED.get(boot.state):
        hint = f"See the boot log with {gcloud_command('instances', 'get-serial-port-output', instance)}"
        return SshError("machine-not-booted", what.format(instance.name), why, hint)
    return None


def _login_cause(api: Api, instance: Instance, raw: compute_v1.Instance) -> RemoteRuntimeError | None:
    if not api.is_enabled(raw, "enable-oslogin"):
        return _missing_permission(
            api, instance, (SET_METADATA_PERMISSION,), "add an SSH key to it", "roles/compute.instanceAdmin.v1"
        )
    if missing := _missing_permission(
        api, instance, (OS_LOGIN_PERMISSION, OS_ADMIN_LOGIN_PERMISSION), "log in to it", "roles/compute.osLogin"
    ):
        return missing
    return SshError(
        "os-login-required",
        f"{instance.name} accepts only OS Login users",
        "`enable-oslogin` is true in its metadata: it ignores keys in metadata and files",
        "See your login name and keys with `gcloud compute os-login describe-profile`",
    )


def _missing_permission(
    api: Api, instance: Instance, permissions: tuple[str, ...], doing: str, role: str
) -> CloudError | None:
    """None if the credentials have one of ``permissions``."""
    if search.granted_permissions(api, instance.name, instance.zone or "", permissions):
        return None
    bind = ("instances", "add-iam-policy-binding")
    return CloudError(
        "permission-denied",
        f"No permission to {doing}: {permissions[0]} is missing",
        f"Compute Engine reports it for {instance.name}",
        f"Ask a project owner to run {gcloud_command(*bind, instance, '--member=user:EMAIL', f'--role={role}')}",
    )


def _started_recently(raw: compute_v1.Instance) -> bool:
    age_s = seconds_since(raw.last_start_timestamp or raw.creation_timestamp)
    return age_s is None or age_s < MAX_BOOT_S


@fast_dataclass(frozen=True)
class BootStatus:
    """``line``: the cleaned line of the console; empty for ``booting``, ``up`` and ``unknown``."""

    state: BootState
    line: str = ""


def parse_serial_output(contents: str) -> BootStatus:
    """The worst event of the last boot."""
    text = contents.replace("\r", "")
    begins = [match.start() for match in _BOOT_START.finditer(text)]
    last = text[begins[-1] :] if begins else text
    for state, pattern in _PATTERNS:
        if found := pattern.search(last):
            return BootStatus(state, clean_line(found.group(), MAX_LINE_CHARS))
    if _UP.search(last):
        return BootStatus("up")
    return BootStatus("booting" if begins or not text.strip() else "unknown")
