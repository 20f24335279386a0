"""The step of `up` that makes Jupyter run on the machine."""

from __future__ import annotations

import secrets

from ..core.deadline import Deadline
from ..core.errors import MachineError
from ..core.model import Server
from ..jupyter import server as jupyter
from ..jupyter.launcher_protocol import CommandNotRun
from ..targets import TargetSession
from .context import BringUpContext
from .resources import Resources
from .rollback import ROLLBACK_S, Rollback
from .upstream import can_reach, supports_unix_sockets

KEY = "server"  # of the rollback step


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
    profile, attach, has_leftover = context.profile, context.profile.jupyter.attach, context.has_leftover_server
    context.progress.step(f"Looking for Jupyter on port {attach.port}" if attach else "Starting Jupyter")
    spec = jupyter.ServerSpec(
        profile.name,
        context.client_id,
        profile.jupyter,
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
            context.progress.note("Jupyter listens on a port: the SSH server does not lead to unix sockets")
        return is_reachable

    def on_start_sent() -> None:
        context.record(folder=True)
        if user_requested and not has_leftover:  # the next attempt to reconnect finds the server
            rollback.push("stopping Jupyter", undo_start, key=KEY)

    if has_leftover:
        rollback.resolve_deferred()
        rollback.push("stopping Jupyter", stop, key=KEY)
    try:
        server = jupyter.ensure(
            session.run,
            spec,
            progress=context.progress,
            deadline=deadline.within(profile.timeouts.jupyter_s),
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
        rollback.push("stopping Jupyter", undo_start, key=KEY)
    elif not has_leftover and not reconnected:
        rollback.discard(KEY)
    for note in server.notes:
        context.progress.note(note)
    if server.kernelspecs:
        kernels = ", ".join(f"{each.name} ({each.display_name})" for each in server.kernelspecs)
        context.progress(f"Its kernels: {kernels}")
    _report_exposure(context, resources, server)
    _report_restart(context, resources, server)
    context.target.confirm_addresses()
    resources.server, resources.server_connect_count = server, resources.connect_count
    context.record(server=server)
    return server


def _report_restart(context: BringUpContext, resources: Resources, server: Server) -> None:
    """Reports that Jupyter had to be started again, and why, as far as the machine knows."""
    previous = resources.server or context.last_server
    if previous is None or previous.attached or server.attached or not server.started_by_us:
        return
    if server.pid == previous.pid and not server.former:
        return
    reason = "Jupyter was started again and its kernels are new"
    if server.former == "restarted":
        reason += ": the machine was restarted"
    elif server.former == "same" and resources.connect_count > resources.server_connect_count:
        reason += (
            ": it ended with the connection while the machine kept running, so the machine probably ends what a login "
            "leaves (KillUserProcesses in logind.conf). Run `loginctl enable-linger` there"
        )
    elif server.former == "same":
        reason += ": it had ended while the machine kept running"
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
        context.progress.note(f"The URL is new, its token was replaced: {reason}. Paste the new URL into Colab")
