"""Stops the machine from inside: with the VM's own service account, else as its administrator.

The metadata server and its header: https://cloud.google.com/compute/docs/metadata/querying-metadata. A VM that powers
itself off becomes TERMINATED, and costs no more than its disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from . import processes

# Says "Google Compute Engine" on an instance.
PRODUCT = "/sys/class/dmi/id/product_name"
METADATA_S, API_S, SUDO_S = 3.0, 30.0, 5.0
VERBS = {"stop-instance": "stop", "suspend-instance": "suspend"}
POWER_OFF = (("systemctl", "poweroff"), ("poweroff",), ("shutdown", "-h", "now"))


@dataclass(frozen=True)
class Way:
    """``how``: ``service-account``, ``power-off``, or ``none``. ``verb``: what becomes of the instance, ``stop`` or
    ``suspend``. ``why``: what was missing for more."""

    how: str
    verb: str
    why: str = ""


def find(do: str, product: str = PRODUCT) -> Way:
    """How ``stop-instance`` or ``suspend-instance`` can be done here; changes nothing.

    Only real instances are powered off, never the computer that a demo machine or a test runs on. ``product``: the
    file with the name of the hardware.
    """
    verb = VERBS[do]
    hardware = _is_compute_engine(product)
    why = _lacks_permission(verb) if hardware or os.environ.get("GCE_METADATA_HOST") else "this is no instance"
    if not why:
        return Way("service-account", verb)
    if hardware and _power_off():
        return Way("power-off", "stop", why)
    return Way("none", verb, f"{why}, and this account may not power it off")


def carry_out(do: str, product: str = PRODUCT) -> str:
    """Empty when the end has begun, else why it has not."""
    way = find(do, product)
    if way.how == "none":
        return way.why
    if way.how == "service-account":
        try:
            _call(f"{_instance()}/{way.verb}", {})
        except (OSError, ValueError) as exc:
            return f"Compute Engine refused: {exc}"
        return ""
    done = subprocess.run(
        _power_off(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    return "" if done.returncode == 0 else done.stdout.decode("utf-8", "replace").strip()[:300]


def _lacks_permission(verb: str) -> str:
    wanted = f"compute.instances.{verb}"
    try:
        granted = _call(f"{_instance()}/testIamPermissions", {"permissions": [wanted]})
    except urllib.error.HTTPError as exc:
        lacks = "has no service account" if exc.code == 404 else f"has a service account without access ({exc.code})"
        return "the instance " + lacks
    except (OSError, ValueError) as exc:
        return f"Compute Engine cannot be asked from the instance ({exc})"
    if wanted in granted.get("permissions", []):
        return ""
    return f"the instance's service account lacks {wanted}"


def _power_off() -> list[str]:
    for words in POWER_OFF:
        program = shutil.which(words[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if program:
            command = [program, *words[1:]]
            return command if processes.own_uid() == 0 else (["sudo", "-n", *command] if _may_sudo(command) else [])
    return []


def _may_sudo(command: list[str]) -> bool:
    if not shutil.which("sudo"):
        return False
    asked = ["sudo", "-n", "-l", *command]
    quiet: dict[str, Any] = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
    try:
        return subprocess.run(asked, timeout=SUDO_S, **quiet).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _is_compute_engine(product: str) -> bool:
    try:
        with open(product, encoding="ascii", errors="replace") as handle:
            return "Google" in handle.read()
    except OSError:
        return False


def _instance() -> str:
    zone = _metadata("instance/zone").rpartition("/")[2]
    return f"projects/{_metadata('project/project-id')}/zones/{zone}/instances/{_metadata('instance/name')}"


def _metadata(path: str) -> str:
    host = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    asked = urllib.request.Request(f"http://{host}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"})
    # Never through a proxy: the answers are for this machine alone.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=METADATA_S) as answer:
        return str(answer.read(65536).decode("utf-8"))


def _call(path: str, body: dict[str, Any]) -> dict[str, Any]:
    token = json.loads(_metadata("instance/service-accounts/default/token"))["access_token"]
    root = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE") or "https://compute.googleapis.com/compute/v1/"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(root + path, json.dumps(body).encode(), headers, method="POST")  # noqa: S310  # as above
    with urllib.request.urlopen(asked, timeout=API_S) as response:  # noqa: S310  # the endpoint is Google's or the user's
        answer = json.loads(response.read(1048576).decode("utf-8"))
    return answer if isinstance(answer, dict) else {}
