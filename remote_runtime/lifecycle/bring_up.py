"""The story of `up`: find the machine, enter it, start Jupyter, lead a local port to it, check the whole path.

``ensure`` is idempotent: a repair is the same story with what still holds skipped.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from ..core.access import AddedKey
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, SshError
from ..core.model import Forward, Health, Instance, Server, named
from ..core.profile import ExtraForward
from ..jupyter import health
from ..targets.gce_login import Wish
from ..tunnel import open_files, ports
from ..tunnel.port_forwarder import Front
from . import debts
from .context import Story as Story
from .ensure_server import serve as serve
from .find import enter_where_it_was
from .find import find as find
from .find import follow as follow
from .resources import Held as Held
from .resources import door as door
from .rollback import UNDO_S, Undo
from .speculative_check import Ahead
from .upstream import open_way

log = logging.getLogger(__name__)
MOST_TRIES = 4  # of an `up`, while the connection is lost again and again


def ensure(story: Story, held: Held, *, start: bool, deadline: Deadline) -> Health:
    """Bring it up, or back. ``start``: whether a machine that does not run may be started.

    Raises ``RemoteRuntimeError``; what this call did is undone then, and its ``remains`` says what could not be.
    """
    undo = Undo(story.tell.step)
    try:
        with ExitStack() as stack:
            stack.push(lambda kind, error, trace: None if _is_stuck(error) else held.let_go())
            stack.callback(undo.run)
            debts.take_on(story, undo)
            bind(story, held, undo)
            enter_where_it_was(story, held, deadline)
            tries, attempt = MOST_TRIES if start else 1, secrets.token_hex(8)
            while True:
                find(story, held, undo, deadline, start=start)
                enter(story, held, deadline, undo)
                tries -= 1
                try:
                    with Ahead():
                        again = tries < MOST_TRIES - 1
                        serve(story, held, undo, deadline, person=start, attempt=attempt, again=again)
                    lead(story, held, deadline)
                    seen = _check(story, held, deadline)
                    if start:
                        open_files.check_room()
                except RemoteRuntimeError as error:
                    if error.code != "too-many-files" and (cause := open_files.lack(error)) is not None:
                        raise cause from error
                    lost = _lost(held, error)
                    if lost is None:
                        raise
                    if tries == 0 or deadline.passed():
                        raise lost from error
                    log.info("%s; once more", lost)
                    held.let_go()
                    continue
                if not follow(story, held):
                    break
            stack.pop_all()
            return seen
    except RemoteRuntimeError as error:
        cause = open_files.is_told(error)
        (cause or error).remains = tuple(undo.remains)
        if cause is not None:
            raise cause from error
        raise


def _lost(held: Held, error: RemoteRuntimeError) -> SshError | None:
    """What it is called when ``error`` comes of a link that dropped meanwhile; None when it does not."""
    session, instance = held.session, held.instance
    if isinstance(error, Interrupted) or session is None or not session.closed or instance is None:
        return None
    return SshError("ssh-unreachable", f"The connection to {instance.name} was lost", session.why_closed)


def _is_stuck(error: BaseException | None) -> bool:
    """Jupyter lives and does not answer: what leads to it serves again when it does."""
    return isinstance(error, RemoteRuntimeError) and error.code == "jupyter-stuck"


def bind(story: Story, held: Held, undo: Undo) -> None:
    """The local ports. Raises ``LocalError`` ``port-in-use``."""
    if held.front is not None and held.listens():
        held.complete()
        if held.front.taken:
            story.tell.note(f"The URL has 127.0.0.1, as localhost may be another program: {held.front.taken}")
        return
    held.close()
    wanted = story.profile.forward
    undo.add("", held.close)
    held.front = Front(ports.bind(wanted.local_port, story.remembered_port))
    for extra in wanted.extra:
        held.extras.append(Front(ports.bind(extra.local_port), http=False))
    held.exposed = f"another program could listen on local port {story.remembered_port or held.front.port} meanwhile"
    if story.remembered_port != held.front.port and ports.fits(wanted.local_port, story.remembered_port):
        story.tell.note(f"Local port {story.remembered_port} is in use now; this runtime has {held.front.port}")
    story.record(local_port=held.front.port)


def enter(story: Story, held: Held, deadline: Deadline, undo: Undo) -> None:
    """The connection to the machine that was found. Raises as ``Machines.connect``, with the cause if it is known."""
    if held.is_entered():
        return
    if held.instance is None:
        raise ValueError("the machine is found before it is entered")
    held.let_go()
    story.tell.step(f"Connecting to {held.instance.name}")
    within = deadline.shorter(story.profile.timeouts.ssh_s)
    profile, machines, tell = story.profile, story.machines, story.tell
    instance = replace(held.instance, started_from=None) if story.hurried else held.instance
    try:
        wish = Wish(
            lambda *news: _let_in(story, held, undo, *news), story.may_add_key, not story.hurried, story.hurried
        )
        session = machines.connect(
            profile, instance, ask=story.ask, tell=tell, deadline=within, added=story.keys, wish=wish
        )
    except SshError as error:
        if story.hurried:
            raise
        raise machines.explain(profile, held.instance, error, tell=tell, deadline=deadline) from error
    held.enter(session, profile.ssh.keepalive_s, instance.address)
    reached = session.instance
    if reached is not None and reached.via != held.instance.via:
        held.instance = replace(held.instance, via=reached.via, why_via=reached.why_via)
        story.record(instance=held.instance)
    if held.instance.via == "iap":
        tell.note(f"Through Identity-Aware Proxy: {held.instance.why_via}")
    if held.instance.access is not None and held.instance.access.two_factor and not story.hurried:
        again = f"after a lost connection answer it with `remote-runtime up {profile.name}`"
        tell.note(f"{held.instance.name} asks for a second factor at each login: {again}")


def _let_in(story: Story, held: Held, undo: Undo, instance: Instance, keys: tuple[AddedKey, ...]) -> None:
    """Before our key is written, and when it is: whatever happens then, it is known what to take away."""
    story.record(keys=keys)
    new = [key for key in keys if key not in story.keys]
    if held.instance is None:
        raise ValueError("the machine is found before a key is put on it")
    if instance.access == held.instance.access:

        def take_back() -> None:
            story.machines.withdraw(story.profile, new, tell=story.tell, deadline=Deadline(UNDO_S))
            story.record(keys=story.keys)

        if new and not story.hurried:  # the next try of many would only have to put it there again
            undo.add(f"taking our key off {instance.name}", take_back, of="key")
        return
    held.instance = replace(held.instance, access=instance.access)
    story.record(instance=held.instance)
    if new:
        until = datetime.fromtimestamp(new[0].until).astimezone().strftime("%Y-%m-%d %H:%M %Z")
        story.tell.note(
            f"Our key on {instance.name} is valid until {until}; a lost connection renews it as long as the "
            "Google credentials are valid"
        )


def lead(story: Story, held: Held, deadline: Deadline) -> None:
    """The local ports to the machine's. Raises as ``open_way``."""
    front, session, server = held.front, held.session, held.server
    if front is None or session is None or server is None or held.instance is None:
        raise ValueError("the tunnel is opened last")
    story.tell.step("Opening the tunnel")
    if held.way is None or held.way.closed or held.way.at != server.at:
        held.way = open_way(
            story.profile, story.machines, held.instance, session, server.at, tell=story.tell.note, deadline=deadline
        )
    front.through(held.way, server.token if server.proves_itself else None, server.proof_at)
    for extra, at in zip(held.extras, story.profile.forward.extra, strict=True):
        extra.through(held.way.to(at.host, at.remote_port), None)
    forwards = _forwards(front, server, story.profile.forward.extra)
    story.record(forwards=forwards, local_host="127.0.0.1" if front.taken else "localhost")


def _check(story: Story, held: Held, deadline: Deadline) -> Health:
    story.tell.step("Checking the path as Colab will use it")
    within = deadline.shorter(story.profile.timeouts.ready_s)
    seen = health.wait_until_ready(held.door(story.profile), within, is_lost=lambda: not held.is_entered())
    for lack in seen.lacks:
        story.tell.note(lack)
    return seen


def _forwards(front: Front, server: Server, extras: tuple[ExtraForward, ...]) -> tuple[Forward, ...]:
    return (
        Forward(front.port, named(*server.at)),
        *(Forward(extra.local_port, named(extra.host, extra.remote_port)) for extra in extras),
    )
