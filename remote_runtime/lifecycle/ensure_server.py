"""The step of `up` that makes Jupyter run on the machine; what was told to start is owed from then on."""

from __future__ import annotations

import secrets

from ..core.deadline import Deadline
from ..core.errors import MachineError
from ..core.model import Server
from ..jupyter import server as jupyter
from ..jupyter.launcher_protocol import CommandNotRun
from .context import BringUpContext
from .resources import Resources
from .rollback import ROLLBACK_S, Rollback
from .upstream import can_reach, supports_unix_sockets

SERVER = "server"


def ensure_server(
    context: BringUpContext,
    resources: Resources,
    rollback: Rollback,
    deadline: Deadline,
    *,
    user_requested: bool = True,
    attempt: str = "",
    reconnected: bool = False,
) -> None:
    """Jupyter on the machine. Raises as ``jupyter.ensure``. ``again``: the connection was lost meanwhile, so a server
    that is found running may be one that the same ``attempt`` has started."""
    session, profile = resources.session, context.profile
    if session is None:
        raise ValueError("there is no session to serve from")
    attach = profile.jupyter.attach
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
        entered = resources.session or session  # it may have been lost and entered again
        jupyter.stop(entered.run, spec, deadline=Deadline(ROLLBACK_S / 4))
        context.record(server=None)

    def undo_start() -> None:
        entered = resources.session or session
        left = jupyter.undo_start(entered.run, spec, deadline=Deadline(ROLLBACK_S / 4))
        context.record(server=None, folder=left)

    def verify_address(place: str | int) -> bool:
        is_reached = can_reach(session, place)
        if not is_reached:
            resources.unix_sockets_work = False
            context.progress.note("Jupyter listens on a port: the SSH server does not lead to unix sockets")
        return is_reached

    if context.leftover_server:
        rollback.resolve_deferred()
        rollback.push("stopping Jupyter", stop, key=SERVER)

    def on_start_sent() -> None:
        context.record(folder=True)
        if user_requested and not context.leftover_server:  # the next try of a repair finds what runs
            rollback.push("stopping Jupyter", undo_start, key=SERVER)

    try:
        server = jupyter.ensure(
            session.run,
            spec,
            progress=context.progress,
            deadline=deadline.within(profile.timeouts.jupyter_s),
            user_requested=user_requested,
            can_forward_to=verify_address,
            on_start=on_start_sent,
        )
    except CommandNotRun:
        if not (reconnected or context.leftover_server):
            rollback.discard(SERVER)  # what was sent reached nobody
        raise
    except MachineError as error:
        if error.code != "machine-answer-invalid" and not context.leftover_server:
            rollback.discard(SERVER)  # the machine itself says that it started nothing, or ended it
        raise
    if server.started_by_us and not context.leftover_server:
        rollback.push("stopping Jupyter", undo_start, key=SERVER)
    elif not context.leftover_server and not reconnected:
        rollback.discard(SERVER)
    for note in server.notes:
        context.progress.note(note)
    if server.kernelspecs:
        context.progress(
            "Its kernels: " + ", ".join(f"{each.name} ({each.display_name})" for each in server.kernelspecs)
        )
    _report_exposure(context, resources, server)
    _report_restart(context, resources, server)
    context.target.confirm_addresses()
    resources.server, resources.server_connect_count = server, resources.connect_count
    context.record(server=server)


def _report_restart(context: BringUpContext, resources: Resources, server: Server) -> None:
    """A server that had to be started again, and why as far as the machine knows."""
    previous = resources.server or context.last_server
    if previous is None or previous.attached or server.attached or not server.started_by_us:
        return
    if server.pid == previous.pid and not server.former:
        return
    resources.restart_reason = "Jupyter was started again and its kernels are new"
    if server.former == "restarted":
        resources.restart_reason += ": the machine was restarted"
    elif server.former == "same" and resources.connect_count > resources.server_connect_count:
        resources.restart_reason += (
            ": it ended with the connection while the machine kept running, so the machine probably ends what a login "
            "leaves (KillUserProcesses in logind.conf). Run `loginctl enable-linger` there"
        )
    elif server.former == "same":
        resources.restart_reason += ": it had ended while the machine kept running"
    context.progress.note(resources.restart_reason)


def _report_exposure(context: BringUpContext, resources: Resources, server: Server) -> None:
    """A page goes on to knock at a port that nobody holds, with the token in its URL."""
    why, resources.exposure_reason = resources.exposure_reason, ""
    previous = resources.server or context.last_server
    if not why or previous is None:
        return
    if server.attached:
        context.progress.note(f"Restart your Jupyter server with a new token if others use this computer: {why}")
    elif server.token != previous.token:
        context.progress.note(f"The URL is new, its token was replaced: {why}. Paste the new URL into Colab")
