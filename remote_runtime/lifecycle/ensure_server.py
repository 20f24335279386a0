"""The step of `up` that makes Jupyter run on the machine."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import replace

from ..core.deadline import Deadline
from ..core.errors import MachineError
from ..core.model import UNKNOWN_INTERPRETER, Server
from ..jupyter import server as jupyter
from ..launcher.protocol import CommandNotRun
from ..targets import TargetSession
from .context import BringUpContext
from .resources import Resources
from .rollback import ROLLBACK_S, Rollback
from .upstream import can_reach, supports_unix_sockets

KEY = "server"  # of the rollback step
STOPPED = "stopped Jupyter"


def ensure_server(
    context: BringUpContext,
    resources: Resources,
    session: TargetSession,
    rollback: Rollback,
    deadline: Deadline,
    *,
    user_requested: bool = True,
    attempt: str = "",
    reconnected: bool = False,
) -> Server:
    """Jupyter on the machine, found or started. Once the start was sent, the rollback undoes it.

    ``reconnected``: the connection was lost in between, so that a server that already runs may be one that the same
    ``attempt`` has started. Raises as ``jupyter.ensure``.
    """
    env = context.prepare_head(session, rollback, deadline) if context.prepare_head else {}
    profile, attach, has_leftover = context.profile, context.profile.jupyter.attach, context.has_leftover_server
    context.progress.step(f"Finding your Jupyter server on port {attach.port}" if attach else "Starting Jupyter")
    spec = jupyter.ServerSpec(
        profile.name,
        context.client_id,
        replace(profile.jupyter, env={**profile.jupyter.env, **env}),
        profile.colab.origins,
        resources.unix_sockets_work and supports_unix_sockets(context.target),
        profile.idle,
        renew=bool(resources.exposure_reason),
        attempt=attempt or secrets.token_hex(8),
    )

    def stop() -> None:
        latest = resources.session or session  # the connection may have been lost and made again
        jupyter.stop(latest.run, spec, deadline=Deadline(ROLLBACK_S / 4))
        context.record(server=None)

    def undo_start() -> None:
        latest = resources.session or session
        is_left = jupyter.undo_start(latest.run, spec, deadline=Deadline(ROLLBACK_S / 4))
        context.record(server=None, folder=is_left)

    def check_forwarding(address: str | int) -> bool:
        is_reachable = can_reach(session, address)
        if not is_reachable:
            resources.unix_sockets_work = False
            context.progress.note("Jupyter listens on a loopback port: the SSH server can't forward to Unix sockets")
        return is_reachable

    def on_start_sent() -> None:
        context.record(folder=True)
        if user_requested and not has_leftover:  # the next attempt to reconnect finds the server
            rollback.push("stopping Jupyter", undo_start, done=STOPPED, key=KEY)

    limits = profile.timeouts
    if has_leftover:
        rollback.resolve_deferred()
        rollback.push("stopping Jupyter", stop, done=STOPPED, key=KEY)
    try:
        server = jupyter.ensure(
            session.run,
            spec,
            progress=context.progress,
            deadline=deadline.within(
                limits.jupyter_s + (limits.install_s if profile.jupyter.install == "auto" else 0.0)
            ),
            start_s=limits.jupyter_s,
            user_requested=user_requested,
            can_forward_to=check_forwarding,
            on_start=on_start_sent,
        )
    except CommandNotRun:
        if not (reconnected or has_leftover):
            rollback.discard(KEY)  # the launcher did not run
        raise
    except MachineError as error:
        if error.code != "machine-answer-invalid" and not has_leftover:
            rollback.discard(KEY)  # the launcher reports that it started nothing, or stopped it
        raise
    if server.started_by_us and not has_leftover:
        rollback.push("stopping Jupyter", undo_start, done=STOPPED, key=KEY)
    elif not has_leftover and not reconnected:
        rollback.discard(KEY)
    _report_server(context, resources, server)
    for note in server.notes:
        context.progress.note(note)
    if server.kernelspecs:
        kernels = ", ".join(f"{each.name} ({each.display_name})" for each in server.kernelspecs)
        context.progress(f"Kernels: {kernels}")
    _report_exposure(context, resources, server)
    _report_restart(context, resources, server)
    context.target.confirm_addresses()
    resources.server, resources.server_connect_count = server, resources.connect_count
    context.record(server=server)
    return server


def _report_server(context: BringUpContext, resources: Resources, server: Server) -> None:
    """Nothing is shown for the server that is forwarded to already."""
    if server.interpreter not in ("", UNKNOWN_INTERPRETER):
        context.progress(f"Jupyter runs in {server.interpreter}")
    if resources.server is not None and resources.server.pid == server.pid and resources.upstream is not None:
        return
    gpus = Counter(gpu.name for gpu in server.gpus)
    python = ".".join(server.python.split(".")[:2])
    facts = [f"Python {python}" if python else "", *(f"{count} × {name}" for name, count in gpus.items())]
    learnt = ", ".join(filter(None, facts))
    verb = "Started Jupyter" if server.started_by_us else "Jupyter is already running"
    verb = "Found your Jupyter server" if server.attached else verb
    context.progress.finish(f"{verb} ({learnt})" if learnt else verb)


def _report_restart(context: BringUpContext, resources: Resources, server: Server) -> None:
    """Reports that Jupyter had to be started again, and why, as far as the machine knows."""
    previous = resources.server or context.last_server
    if previous is None or previous.attached or server.attached or not server.started_by_us:
        return
    if server.pid == previous.pid and not server.former:
        return
    reason = "Jupyter was restarted, and its kernels are new"
    if server.former == "restarted":
        reason += ": the machine rebooted"
    elif server.former == "same" and resources.connect_count > resources.server_connect_count:
        reason += (
            ": it ended with the SSH connection while the machine kept running, so logind probably kills processes at "
            "logout (KillUserProcesses in logind.conf). Run `loginctl enable-linger` on the machine"
        )
    elif server.former == "same":
        reason += ": it had exited while the machine kept running"
    resources.restart_reason = reason
    context.progress.note(reason)


def _report_exposure(context: BringUpContext, resources: Resources, server: Server) -> None:
    """Reports that the token was replaced: a page keeps requesting, with the token in its URL, at a local port that is
    not bound."""
    reason, resources.exposure_reason = resources.exposure_reason, ""
    previous = resources.server or context.last_server
    if not reason or previous is None:
        return
    if server.attached:
        context.progress.note(f"Restart your Jupyter server with a new token if others use this computer: {reason}")
    elif server.token != previous.token:
        context.progress.note(f"The token was replaced: {reason}. Paste the new URL into Colab")
