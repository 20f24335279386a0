"""Checks a running runtime: reports what the keeper knows, then tests the local port. Disturbs nothing except for
one kernel that is started for one cell."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from ...core.deadline import Deadline
from ...core.errors import HealthError, RemoteRuntimeError, from_code, from_dict
from ...core.metrics import Connections
from ...core.model import Runtime
from ...core.profile import Profile
from ...jupyter import health
from . import browser_checks
from .checklist import CLOUD_CHECKS, CODES_OF_CHECK, LOGIN_CHECKS, SERVER_CHECKS, Checklist, check_of

CODE_OF_STATE: Mapping[str, str] = {
    "stranger": "stranger-answered",
    "reconnecting": "ssh-unreachable",
    "unreachable": "not-answering",
}
STEP_CHECKS = (*CLOUD_CHECKS, *LOGIN_CHECKS, *SERVER_CHECKS, "forward")


def check_running(
    checklist: Checklist,
    profile: Profile,
    runtime: Runtime,
    status: Mapping[str, Any],
    deadline: Deadline,
    *,
    connect_uncounted: Callable[[int, float], socket.socket],
) -> None:
    """``runtime``: its state file; ``status``: RUNTIME from its keeper; ``connect_uncounted`` opens a connection that
    is not counted as a client. Raises ``Interrupted``."""
    if status["state"] == "starting":
        checklist.warn(
            "keeper",
            "The runtime is starting",
            status["why"] or "its `up` has not finished",
            "`remote-runtime up PROFILE` shows the progress",
        )
        checklist.blocked_by = "keeper"
    else:
        reconnects = status["reconnects"]
        suffix = f", {reconnects} reconnect{'' if reconnects == 1 else 's'}" if reconnects else ""
        checklist.ok("keeper", f"Running (pid {status['keeper_pid']}){suffix}")
    idle = (status["server"] or {}).get("idle") or {}
    if idle.get("failed"):
        what = "The idle stop failed"
        hint = "" if idle["do"] == "stop-server" else "`remote-runtime down PROFILE --stop-instance` stops the VM"
        checklist.warn("idle", what, idle["failed"], hint)
    _check_steps(checklist, status, runtime_error(status))
    refused: tuple[str, ...] = ()
    if runtime.server is None or runtime.local_port is None:
        checklist.blocked_by = checklist.blocked_by or "jupyter"
    if checklist.blocked_by or runtime.server is None or runtime.local_port is None:
        checklist.skip(*(check for check in browser_checks.CHECKS if check != checklist.blocked_by))
    else:
        port = runtime.local_port
        server, origins = runtime.server, profile.colab.origins
        attached = server if server.attached else None
        endpoint = health.Endpoint(
            port, server.token, origins, lambda limit_s: connect_uncounted(port, limit_s), attached
        )
        browser_checks.check_page(checklist, endpoint, deadline, profile.timeouts.ready_s)
        refused = _refused_origins(endpoint, deadline.within(profile.timeouts.ready_s))
    browser_checks.check_browser_seen(checklist, Connections(**status["connections"]), status["page_requests"], refused)


def _refused_origins(endpoint: health.Endpoint, deadline: Deadline) -> tuple[str, ...]:
    """Origins whose requests the server refused; empty when the server does not answer."""
    try:
        return health.read_usage(endpoint, deadline).refused
    except HealthError:
        return ()


def runtime_error(status: Mapping[str, Any]) -> RemoteRuntimeError | None:
    """The error because of which it is not ready, from the keeper."""
    if status["state"] in ("ready", "starting"):
        return None
    if status["last_error"]:
        return from_dict(status["last_error"])
    return from_code(
        CODE_OF_STATE.get(status["state"], "not-answering"), f"{status['name']} is {status['state']}", status["why"]
    )


def _check_steps(checklist: Checklist, status: Mapping[str, Any], error: RemoteRuntimeError | None) -> None:
    """Report what the keeper knows of each step, up to the failed one."""
    texts = _step_texts(status)
    failed_check = "" if error is None else (check_of(error.code, CODES_OF_CHECK) or "ssh")
    for check in [check for check in STEP_CHECKS if check in texts or check == failed_check]:
        if checklist.blocked_by:
            checklist.skip(check)
        elif error is not None and check == failed_check:
            checklist.fail(failed_check, error)
            checklist.blocked_by = failed_check
        elif error is not None:  # not checked again since
            checklist.ok(check, texts[check] if check == "instance" else f"{texts[check]}, when last seen")
        else:
            checklist.ok(check, texts[check])
    if error is not None and failed_check in browser_checks.CHECKS:
        checklist.fail(failed_check, error)
        checklist.blocked_by = failed_check


def _step_texts(status: Mapping[str, Any]) -> dict[str, str]:
    instance, server = status["instance"], status["server"]
    texts = {}
    if instance and status["target"].get("kind") in ("gce", "demo"):
        texts["instance"] = f"{instance['name']} in {instance['zone']} was {instance['status']} at the last check"
    if status["target"].get("kind") != "local":
        rtt = "" if status["rtt_ms"] is None else f", latency {status['rtt_ms']:.0f} ms"
        texts["ssh"] = f"Connected{rtt}"
    if server:
        texts["interpreter"] = ", Python ".join(filter(None, [server["interpreter"], server["python"]]))
        texts["jupyter"] = f"Running (jupyter_server {server['jupyter_server']}, pid {server['pid']})"
        texts["bridge"] = (
            f"Version {server['bridge']} is loaded" if server["bridge"] else "Not installed in your server"
        )
        texts["forward"] = f"localhost:{status['local_port']} → {status['forwards'][0]['remote']} on the machine"
    return texts
