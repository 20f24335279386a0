"""Stops the machine from inside: with the VM's own service account, else as its administrator.

The metadata server and its header: https://cloud.google.com/compute/docs/metadata/querying-metadata. A VM that powers
itself off becomes TERMINATED, and costs no more than its disk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from . import processes

# Says "Google Compute Engine" on an instance.
PRODUCT_FILE = "/sys/class/dmi/id/product_name"
METADATA_S, API_S, SUDO_S = 3.0, 30.0, 5.0
VERBS = {"stop-instance": "stop", "suspend-instance": "suspend"}
POWER_OFF = (("systemctl", "poweroff"), ("poweroff",), ("shutdown", "-h", "now"))
COMPUTE = "https://compute.googleapis.com/compute/v1/"
OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
# Nothing that two URL parsers could read in two ways; plain HTTP is for this machine only.
_ENDPOINT = re.compile(
    r"(?:https://[A-Za-z0-9.-]+|http://(?:127\.0\.0\.1|localhost|\[::1\]))(?::\d{1,5})?(?:/[\w.~/-]*)?"
)


@dataclass(frozen=True)
class ShutdownMethod:
    """``how``: ``service-account``, ``power-off``, or ``none``. ``verb``: what becomes of the instance, ``stop`` or
    ``suspend``. ``why``: what was missing for more. ``local_ssd``: it has one, whose data a stop loses."""

    how: str
    verb: str
    why: str = ""
    local_ssd: bool = False


def find_method(do: str, product: str = PRODUCT_FILE) -> ShutdownMethod:
    """How ``stop-instance`` or ``suspend-instance`` can be done here; changes nothing.

    Only real instances are powered off, never the computer that a demo machine or a test runs on. ``product``: the
    file with the name of the hardware.
    """
    verb = VERBS[do]
    hardware = _is_compute_engine(product)
    is_instance = hardware or bool(os.environ.get("GCE_METADATA_HOST"))
    why = _missing_permission(verb) if is_instance else "this is no instance"
    local_ssd = is_instance and _has_local_ssd()
    if not why:
        return ShutdownMethod("service-account", verb, local_ssd=local_ssd)
    if hardware and _power_off_command():
        return ShutdownMethod("power-off", "stop", why, local_ssd)
    return ShutdownMethod("none", verb, f"{why}, and this account may not power it off", local_ssd)


def shut_down(do: str, product: str = PRODUCT_FILE, *, accepted: bool = False) -> str:
    """Empty when the end has begun, else why it has not. ``accepted``: Compute Engine took the request before, and
    the machine goes on.

    Where Compute Engine refuses a stop, the machine powers itself off if it may. It does not where a suspend is
    refused: what is in its memory would be lost, and nobody was told so.
    """
    method = find_method(do, product)
    if method.how == "none":
        return method.why
    if method.how == "power-off":
        return _run_power_off() or ("it was told to power off, and goes on" if accepted else "")
    refused = f"Compute Engine accepted to {method.verb} it, and it goes on" if accepted else _request_shutdown(method)
    if refused and method.verb == "stop" and _is_compute_engine(product) and _power_off_command():
        failed = _run_power_off()
        return f"{refused}; powering off: {failed}" if failed else ""
    return refused


def _request_shutdown(method: ShutdownMethod) -> str:
    """A stopped instance keeps no Local SSD's data, and the request has to say so; a suspended one does."""
    query = {"discardLocalSsd": "true" if method.verb == "stop" else "false"} if method.local_ssd else {}
    try:
        _call(f"{_instance_path()}/{method.verb}", None, query)
    except urllib.error.HTTPError as exc:
        return f"Compute Engine refused: {_error_message(exc)}"
    except (OSError, ValueError) as exc:
        return f"Compute Engine cannot be asked from the instance: {_error_reason(exc)}"
    return ""


def _run_power_off() -> str:
    command = _power_off_command()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    said = done.stdout.decode("utf-8", "replace").strip()[:300]
    return "" if done.returncode == 0 else said or f"{' '.join(command)} ended with status {done.returncode}"


def _missing_permission(verb: str) -> str:
    wanted = f"compute.instances.{verb}"
    try:
        granted = _call(f"{_instance_path()}/testIamPermissions", {"permissions": [wanted]})
    except urllib.error.HTTPError as exc:
        if exc.code == 404:
            return "the instance has no service account"
        return f"the instance has a service account without access: {_error_message(exc)}"
    except (OSError, ValueError) as exc:
        return f"Compute Engine cannot be asked from the instance ({_error_reason(exc)})"
    if wanted in granted.get("permissions", []):
        return ""
    return f"the instance's service account lacks {wanted}"


def _has_local_ssd() -> bool:
    """As the metadata server lists the disks; none where it does not tell."""
    try:
        disks = json.loads(_metadata("instance/disks/?recursive=true"))
        return any("LOCAL-SSD" in str(disk.get("type")).upper() for disk in disks)
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _error_message(exc: urllib.error.HTTPError) -> str:
    """Google's words in the answer, or its status."""
    try:
        said = str(json.loads(exc.read(65536).decode("utf-8", "replace"))["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        said = ""
    return " ".join(said.split())[:300] or f"it answered {exc.code}"


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
    """Whether sudo runs it and asks for no password. ``sudo -l CMD`` alone says yes, too, for one that asks for one."""
    return bool(_sudo_list(command)) and needs_no_password(_sudo_list([]), command)


def _sudo_list(command: list[str]) -> str:
    """What ``sudo -l`` prints; empty where it refuses, or is not there."""
    if not shutil.which("sudo"):
        return ""
    asked, environ = ["sudo", "-n", "-l", *command], {**os.environ, "LC_ALL": "C"}
    silent = subprocess.DEVNULL
    try:
        done = subprocess.run(
            asked, env=environ, timeout=SUDO_S, stdin=silent, stdout=subprocess.PIPE, stderr=silent, check=True
        )
        return done.stdout.decode("utf-8", "replace")
    except (OSError, subprocess.SubprocessError):
        return ""


def needs_no_password(listing: str, command: list[str]) -> bool:
    """By what ``sudo -l`` lists. sudoers(5): the last entry that matches counts, and a tag holds for the entries that
    follow it in its rule. A pattern is not taken for a match."""
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
    try:
        with open(product, encoding="ascii", errors="replace") as handle:
            return "Google" in handle.read()
    except OSError:
        return False


def _instance_path() -> str:
    zone = _metadata("instance/zone").rpartition("/")[2]
    return f"projects/{_metadata('project/project-id')}/zones/{zone}/instances/{_metadata('instance/name')}"


def _metadata(path: str) -> str:
    host = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    asked = urllib.request.Request(f"http://{host}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"})
    # Never through a proxy: the answers are for this machine alone.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=METADATA_S) as answer:
        return str(answer.read(65536).decode("utf-8"))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token is for the address that was asked."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _call(path: str, body: dict[str, Any] | None, query: dict[str, str] | None = None) -> dict[str, Any]:
    """Raises ``OSError``, of which ``HTTPError`` is one, and ``ValueError``."""
    root = os.environ.get(OVERRIDE) or COMPUTE
    if not _ENDPOINT.fullmatch(root):
        raise ValueError(f"{OVERRIDE} is no https:// address")
    try:
        token = json.loads(_metadata("instance/service-accounts/default/token"))["access_token"]
    except (KeyError, TypeError):
        raise ValueError("the metadata server gives no access token") from None
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = root + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
    content = b"" if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, content, headers, method="POST")  # noqa: S310  # as checked
    # What stays on this machine goes through no proxy.
    proxies = [urllib.request.ProxyHandler({})] if root.startswith("http:") else []
    with urllib.request.build_opener(_NoRedirect, *proxies).open(asked, timeout=API_S) as response:
        answer = json.loads(response.read(1048576).decode("utf-8"))
    return answer if isinstance(answer, dict) else {}
