"""A runtime whose keeper lives: what the keeper knows, and the path through its own port. Nothing of it is disturbed
but for one kernel, started for one cell and ended."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from ...core.deadline import Deadline
from ...core.errors import HealthError, RemoteRuntimeError, from_code, from_dict
from ...core.model import Connections, Profile, Runtime
from ...jupyter import health
from . import browser_checks
from .checklist import PLACES, Checkup

CODES: Mapping[str, str] = {
    "stranger": "stranger-answered",
    "reconnecting": "ssh-unreachable",
    "unreachable": "not-answering",
}
ORDER = (
    "credentials",
    "instance",
    "firewall",
    "ssh",
    "host-key",
    "login",
    "interpreter",
    "jupyter",
    "bridge",
    "forward",
)


def look(
    checkup: Checkup,
    profile: Profile,
    runtime: Runtime,
    now: Mapping[str, Any],
    deadline: Deadline,
    *,
    quietly: Callable[[int, float], socket.socket],
) -> None:
    """``runtime``: from its file; ``now``: RUNTIME as its keeper tells it; ``quietly`` connects to a port here without
    being counted as a visitor. Raises ``Interrupted``."""
    if now["state"] == "starting":
        checkup.warn(
            "keeper",
            "it is being brought up now",
            now["why"] or "its `up` is at work",
            "`remote-runtime up PROFILE` shows how far it is; look again when it is ready",
        )
        checkup.needs = "keeper"
    else:
        again = now["reconnects"]
        mended = f", mended {again} time{'' if again == 1 else 's'}" if again else ""
        checkup.holds("keeper", f"the background process lives (pid {now['keeper_pid']}){mended}")
    _facts(checkup, now, trouble(now))
    idle = (now["server"] or {}).get("idle") or {}
    if idle.get("failed"):
        what = "what the profile's idle says could not be done"
        hint = "" if idle["do"] == "stop-server" else "`remote-runtime down PROFILE --stop-instance` stops the VM"
        checkup.warn("idle", what, idle["failed"], hint)
    refused: tuple[str, ...] = ()
    if checkup.needs or runtime.server is None or runtime.local_port is None:
        checkup.skip(*(check for check in browser_checks.CHECKS if check != checkup.needs))
    else:
        port = runtime.local_port
        server, origins = runtime.server, profile.colab.origins
        mine = server if server.attached else None
        door = health.Door(port, server.token, origins, lambda limit_s: quietly(port, limit_s), mine)
        browser_checks.look(checkup, door, deadline, profile.timeouts.ready_s)
        refused = _refused(door, deadline.shorter(profile.timeouts.ready_s))
    browser_checks.audience(checkup, Connections(**now["connections"]), now["page_requests"], refused)


def _refused(door: health.Door, deadline: Deadline) -> tuple[str, ...]:
    """Origins of pages that the server refused; none where the checks before have told what fails."""
    try:
        return health.use(door, deadline).refused
    except HealthError:
        return ()


def trouble(now: Mapping[str, Any]) -> RemoteRuntimeError | None:
    """Why it is not ready, in the keeper's words."""
    if now["state"] in ("ready", "starting"):
        return None
    if now["last_error"]:
        return from_dict(now["last_error"])
    return from_code(CODES.get(now["state"], "not-answering"), f"{now['name']} is {now['state']}", now["why"])


def _facts(checkup: Checkup, now: Mapping[str, Any], error: RemoteRuntimeError | None) -> None:
    """What was found on the way, up to what fails now."""
    seen = _seen(now)
    place = "" if error is None else PLACES.get(error.code, "ssh")
    for check in [check for check in ORDER if check in seen or check == place]:
        if checkup.needs:
            checkup.skip(check)
        elif error is not None and check == place:
            checkup.fails(place, error)
            checkup.needs = place
        elif error is not None:  # what comes before it was not looked at again
            checkup.holds(check, seen[check] if check == "instance" else f"{seen[check]}, when it was last seen")
        else:
            checkup.holds(check, seen[check])
    if error is not None and place in browser_checks.CHECKS:
        checkup.fails(place, error)
        checkup.needs = place


def _seen(now: Mapping[str, Any]) -> dict[str, str]:
    instance, server = now["instance"], now["server"]
    seen = {}
    if instance and now["target"].get("kind") in ("gce", "demo"):
        seen["instance"] = f"{instance['name']} in {instance['zone']} was {instance['status']} when it was looked up"
    if now["target"].get("kind") != "local":
        rtt = "" if now["rtt_ms"] is None else f", {now['rtt_ms']:.0f} ms away"
        seen["ssh"] = f"connected{rtt}"
    if server:
        seen["interpreter"] = ", Python ".join(filter(None, [server["interpreter"], server["python"]]))
        seen["jupyter"] = f"jupyter_server {server['jupyter_server']} runs (pid {server['pid']})"
        seen["bridge"] = f"version {server['bridge']} is loaded" if server["bridge"] else "your own server has none"
        seen["forward"] = f"local port {now['local_port']} leads to {now['forwards'][0]['remote']} of the machine"
    return seen
