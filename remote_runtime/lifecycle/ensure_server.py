"""The step of `up` that makes Jupyter run on the machine; what was told to start is owed from then on."""

from __future__ import annotations

import secrets

from ..core.deadline import Deadline
from ..core.errors import MachineError
from ..core.model import Server
from ..jupyter import server as jupyter
from ..jupyter.launcher_protocol import NotRun
from .context import Story
from .resources import Held
from .rollback import UNDO_S, Undo
from .upstream import leads_to, leads_to_sockets

SERVER = "server"


def serve(
    story: Story,
    held: Held,
    undo: Undo,
    deadline: Deadline,
    *,
    person: bool = True,
    attempt: str = "",
    again: bool = False,
) -> None:
    """Jupyter on the machine. Raises as ``jupyter.ensure``. ``again``: the connection was lost meanwhile, so a server
    that is found running may be one that the same ``attempt`` has started."""
    session, profile = held.session, story.profile
    if session is None:
        raise ValueError("there is no session to serve from")
    attach = profile.jupyter.attach
    story.tell.step(f"Looking for Jupyter on port {attach.port}" if attach else "Starting Jupyter")
    wanted = jupyter.Wanted(
        profile.name,
        story.client_id,
        profile.jupyter,
        profile.colab.origins,
        held.sockets and leads_to_sockets(profile),
        profile.idle,
        renew=bool(held.exposed),
        attempt=attempt or secrets.token_hex(8),
    )

    def stop() -> None:
        entered = held.session or session  # it may have been lost and entered again
        jupyter.stop(entered.run, wanted, deadline=Deadline(UNDO_S / 4))
        story.record(server=None)

    def take_back() -> None:
        entered = held.session or session
        left = jupyter.take_back(entered.run, wanted, deadline=Deadline(UNDO_S / 4))
        story.record(server=None, folder=left)

    def reaches(place: str | int) -> bool:
        is_reached = leads_to(session, place)
        if not is_reached:
            held.sockets = False
            story.tell.note("Jupyter listens on a port: the SSH server does not lead to unix sockets")
        return is_reached

    if story.owed_server:
        undo.settle()
        undo.add("stopping Jupyter", stop, of=SERVER)

    def may_run() -> None:
        story.record(folder=True)
        if person and not story.owed_server:  # the next try of a repair finds what runs
            undo.add("stopping Jupyter", take_back, of=SERVER)

    try:
        server = jupyter.ensure(
            session.run,
            wanted,
            tell=story.tell,
            deadline=deadline.shorter(profile.timeouts.jupyter_s),
            person=person,
            reaches=reaches,
            began=may_run,
        )
    except NotRun:
        if not (again or story.owed_server):
            undo.forget(SERVER)  # what was sent reached nobody
        raise
    except MachineError as error:
        if error.code != "machine-answer-invalid" and not story.owed_server:
            undo.forget(SERVER)  # the machine itself says that it started nothing, or ended it
        raise
    if server.started_by_us and not story.owed_server:
        undo.add("stopping Jupyter", take_back, of=SERVER)
    elif not story.owed_server and not again:
        undo.forget(SERVER)
    for note in server.notes:
        story.tell.note(note)
    if server.kernelspecs:
        story.tell("Its kernels: " + ", ".join(f"{each.name} ({each.display_name})" for each in server.kernelspecs))
    _say_what_was_exposed(story, held, server)
    _say_what_was_lost(story, held, server)
    story.machines.settle()
    held.server, held.served = server, held.entered
    story.record(server=server)


def _say_what_was_lost(story: Story, held: Held, server: Server) -> None:
    """A server that had to be started again, and why as far as the machine knows."""
    before = held.server or story.known_server
    if before is None or before.attached or server.attached or not server.started_by_us:
        return
    if server.pid == before.pid and not server.former:
        return
    held.restarted = "Jupyter was started again and its kernels are new"
    if server.former == "restarted":
        held.restarted += ": the machine was restarted"
    elif server.former == "same" and held.entered > held.served:
        held.restarted += (
            ": it ended with the connection while the machine kept running, so the machine probably ends what a login "
            "leaves (KillUserProcesses in logind.conf). Run `loginctl enable-linger` there"
        )
    elif server.former == "same":
        held.restarted += ": it had ended while the machine kept running"
    story.tell.note(held.restarted)


def _say_what_was_exposed(story: Story, held: Held, server: Server) -> None:
    """A page goes on to knock at a port that nobody holds, with the token in its URL."""
    why, held.exposed = held.exposed, ""
    before = held.server or story.known_server
    if not why or before is None:
        return
    if server.attached:
        story.tell.note(f"Restart your Jupyter server with a new token if others use this computer: {why}")
    elif server.token != before.token:
        story.tell.note(f"The URL is new, its token was replaced: {why}. Paste the new URL into Colab")
