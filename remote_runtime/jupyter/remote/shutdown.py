"""Stops the VM from inside: through the Compute Engine API with its service account, else by powering off.

Metadata server: https://cloud.google.com/compute/docs/metadata/querying-metadata. A VM that powers itself off becomes
TERMINATED, and costs only its disk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from . import processes

# Holds "Google Compute Engine" on an instance.
PRODUCT_FILE = "/sys/class/dmi/id/product_name"
METADATA_S, API_S, SUDO_S = 3.0, 30.0, 5.0
VERBS = {"stop-instance": "stop", "suspend-instance": "suspend"}
POWER_OFF = (("systemctl", "poweroff"), ("poweroff",), ("shutdown", "-h", "now"))
COMPUTE = "https://compute.googleapis.com/compute/v1/"
OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
# No URL that two parsers could read differently; plain HTTP only to this machine.
_ENDPOINT = re.compile(
    r"(?:https://[A-Za-z0-9.-]+|http://(?:127\.0\.0\.1|localhost|\[::1\]))(?::\d{1,5})?(?:/[\w.~/-]*)?"
)


@dataclass(frozen=True)
class ShutdownMethod:
    """``how``: ``service-account``, ``power-off``, or ``none``. ``verb``: ``stop`` or ``suspend``. ``why``: why no
    better method works. ``local_ssd``: the instance has a Local SSD, whose data a stop loses."""

    how: str
    verb: str
    why: str = ""
    local_ssd: bool = False


def find_method(do: str, product: str = PRODUCT_FILE) -> ShutdownMethod:
    """The best method for ``stop-instance`` or ``suspend-instance`` here; changes nothing.

    Only real instances are powered off, never a computer that runs a demo machine or a test. ``product``: the file
    with the name of the hardware.
    """
    verb = VERBS[do]
    hardware = _is_compute_engine(product)
    is_instance = hardware or bool(os.environ.get("GCE_METADATA_HOST"))
    why = _missing_permission(verb) if is_instance else "this is not a Compute Engine VM"
    local_ssd = is_instance and _has_local_ssd()
    if not why:
        return ShutdownMethod("service-account", verb, local_ssd=local_ssd)
    if hardware and _power_off_command():
        return ShutdownMethod("power-off", "stop", why, local_ssd)
    return ShutdownMethod("none", verb, f"{why}, and this account doesn't have permission to power it off", local_ssd)


def shut_down(do: str, product: str = PRODUCT_FILE, *, accepted: bool = False) -> str:
    """Returns why the machine does not stop, empty if it does. ``accepted``: Compute Engine accepted an earlier
    request, and the machine still runs.

    If Compute Engine refuses a stop, the machine powers itself off if it may. Not if it refuses a suspend: the memory
    would be lost, contrary to what the user reads.
    """
    method = find_method(do, product)
    if method.how == "none":
        return method.why
    if method.how == "power-off":
        return _run_power_off() or ("the power-off was requested, but it is still running" if accepted else "")
    refused = (
        f"Compute Engine accepted the request to {method.verb} it, but it is still running"
        if accepted
        else _request_shutdown(method)
    )
    if refused and method.verb == "stop" and _is_compute_engine(product) and _power_off_command():
        failed = _run_power_off()
        return f"{refused}; powering off: {failed}" if failed else ""
    return refused


def _request_shutdown(method: ShutdownMethod) -> str:
    """A stop discards the data of Local SSDs, and the request must confirm that; a suspend keeps it."""
    query = {"discardLocalSsd": "true" if method.verb == "stop" else "false"} if method.local_ssd else {}
    try:
        _call(f"{_instance_path()}/{method.verb}", None, query)
    except urllib.error.HTTPError as exc:
        return f"Compute Engine rejected the request: {_error_message(exc)}"
    except (OSError, ValueError) as exc:
        return f"the VM can't reach the Compute Engine API: {_error_reason(exc)}"
    return ""


def _run_power_off() -> str:
    command = _power_off_command()
    done = processes.run(*command, timeout_s=60.0)
    output = (done.stdout + done.stderr).decode("utf-8", "replace").strip()[:300]
    return "" if done.returncode == 0 else output or f"{' '.join(command)} exited with status {done.returncode}"


def _missing_permission(verb: str) -> str:
    wanted = f"compute.instances.{verb}"
    try:
        granted = _call(f"{_instance_path()}/testIamPermissions", {"permissions": [wanted]})
    except urllib.error.HTTPError as exc:
        if exc.code == 404:
            return "the VM has no service account"
        return f"the VM's service account has no access: {_error_message(exc)}"
    except (OSError, ValueError) as exc:
        return f"the VM can't reach the Compute Engine API ({_error_reason(exc)})"
    if wanted in granted.get("permissions", []):
        return ""
    return f"the VM's service account lacks {wanted}"


def _has_local_ssd() -> bool:
    """By the metadata server's list of disks; False if it does not answer."""
    try:
        disks = json.loads(_metadata("instance/disks/?recursive=true"))
        return any("LOCAL-SSD" in str(disk.get("type")).upper() for disk in disks)
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _error_message(exc: urllib.error.HTTPError) -> str:
    """Google's message in the response, else its status."""
    try:
        message = str(json.loads(exc.read(65536).decode("utf-8", "replace"))["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        message = ""
    return " ".join(message.split())[:300] or f"status {exc.code}"


def _error_reason(exc: Exception) -> str:
    cause = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    return str(getattr(cause, "strerror", None) or cause)[:200]


def _power_off_command() -> list[str]:
    for words in POWER_OFF:
        program = shutil.which(words[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if program:
            command = [program, *words[1:]]
            return command if processes.own_uid() == 0 else (["sudo", "-n", *command] if _can_sudo(command) else [])
    return []


def _can_sudo(command: list[str]) -> bool:
    """Whether sudo runs it without a password. ``sudo -l CMD`` alone also succeeds if sudo would ask for one."""
    return bool(_sudo_list(command)) and needs_no_password(_sudo_list([]), command)


def _sudo_list(command: list[str]) -> str:
    """What ``sudo -l`` prints; empty if it fails or is not there."""
    if not shutil.which("sudo"):
        return ""
    done = processes.try_run("sudo", "-n", "-l", *command, timeout_s=SUDO_S, env={**os.environ, "LC_ALL": "C"})
    return done.stdout.decode("utf-8", "replace") if done is not None and done.returncode == 0 else ""


def needs_no_password(listing: str, command: list[str]) -> bool:
    """Whether the ``listing`` of ``sudo -l`` allows the command without a password. sudoers(5): the last matching entry
    counts, and a tag holds for the entries after it in its rule. A pattern does not count as a match."""
    free = False
    for rule in listing.partition("may run the following commands")[2].splitlines()[1:]:
        run_as, _, entries = rule.strip().partition(") ")
        if not {"root", "ALL"} & set(re.split(r"[(\s,:]+", run_as)):
            continue
        tagged_free = False
        for entry in entries.split(", "):
            words = entry.split()
            while words and words[0].endswith(":"):
                tag = words.pop(0)
                tagged_free = tag == "NOPASSWD:" if "PASSWD" in tag else tagged_free
            if words in (["ALL"], command[:1], command):
                free = tagged_free
    return free


def _is_compute_engine(product: str) -> bool:
    return "Google" in processes.read_text(product)


def _instance_path() -> str:
    zone = _metadata("instance/zone").rpartition("/")[2]
    return f"projects/{_metadata('project/project-id')}/zones/{zone}/instances/{_metadata('instance/name')}"


def _metadata(path: str) -> str:
    host = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    http_request = urllib.request.Request(
        f"http://{host}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"}
    )
    # Never through a proxy: the response is for this machine only.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(http_request, timeout=METADATA_S) as response:
        return str(response.read(65536).decode("utf-8"))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token must not be sent to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _call(path: str, body: dict[str, Any] | None, query: dict[str, str] | None = None) -> dict[str, Any]:
    """Raises ``OSError``, of which ``HTTPError`` is one, and ``ValueError``."""
    root = os.environ.get(OVERRIDE) or COMPUTE
    if not _ENDPOINT.fullmatch(root):
        raise ValueError(f"expected an https:// URL in {OVERRIDE}")
    try:
        token = json.loads(_metadata("instance/service-accounts/default/token"))["access_token"]
    except (KeyError, TypeError):
        raise ValueError("the metadata server returned no access token") from None
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = root + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
    content = b"" if body is None else json.dumps(body).encode()
    http_request = urllib.request.Request(url, content, headers, method="POST")  # noqa: S310  # as checked
    # No proxy for an address on this machine.
    proxies = [urllib.request.ProxyHandler({})] if root.startswith("http:") else []
    with urllib.request.build_opener(_NoRedirect, *proxies).open(http_request, timeout=API_S) as response:
        answer = json.loads(response.read(1048576).decode("utf-8"))
    return answer if isinstance(answer, dict) else {}
