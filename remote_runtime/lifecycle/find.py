"""Which machine it is: the one that was entered last, the one that a look-up finds, or another one by now."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..core.deadline import Deadline
from ..core.errors import CloudError
from ..core.model import Instance
from ..targets.gce_login import Wish
from . import debts, last_known
from .context import Story
from .resources import Held
from .rollback import UNDO_S, Undo

log = logging.getLogger(__name__)


def enter_where_it_was(story: Story, held: Held, deadline: Deadline) -> None:
    """The last known machine, if it is still there. The look-up that tells whether the profile still means it takes a
    second or two, and goes on meanwhile."""
    profile, machines, known = story.profile, story.machines, story.known
    if held.instance is not None or held.is_entered() or known is None:
        return
    if not last_known.is_known(profile, known, machines):
        return
    story.tell.step(f"Connecting to {known.name} where it was last")
    wish = Wish(lambda instance, keys: story.record(keys=keys), story.may_add_key)
    held.look_up = last_known.find_again(machines, profile, known, wish, story.keys)
    session = last_known.enter(machines, profile, known, tell=story.tell, deadline=deadline)
    if session is None:
        return
    held.enter(session, profile.ssh.keepalive_s, known.address)
    held.instance = replace(known, status="RUNNING", started_from=None)
    story.record(instance=held.instance)


def follow(story: Story, held: Held) -> bool:
    """Goes by what the look-up says, if it has an answer: whether the link was dropped, because another instance is
    meant now."""
    now = held.news()
    if now is None or held.instance is None:
        return False
    is_another = now.id != held.instance.id
    held.instance = now = now.reached_like(held.instance)
    story.record(instance=now)
    if is_another:
        story.tell.note(f"{now.name} is another instance now (id {now.id})")
        held.let_go()
    return is_another


def find(story: Story, held: Held, undo: Undo, deadline: Deadline, *, start: bool) -> None:
    """The machine, running. Raises as ``Machines.find``."""
    if held.instance is not None or held.is_entered():
        return
    profile, machines = story.profile, story.machines
    story.tell.step("Finding the machine")
    if held.look_up is not None and (found := _looked_up(held, deadline)):
        held.instance = found
        story.record(instance=found)
        return
    if not machines.is_there(profile):
        undo.add("", lambda: machines.release(profile, held.instance, Deadline(UNDO_S)))

    def started(instance: Instance) -> None:
        story.record(instance=instance)
        debts.owe_instance(story, instance, undo)

    within = deadline.shorter(profile.timeouts.instance_s)
    found = machines.find(profile, start=start, tell=story.tell, deadline=within, started=started)
    if story.owed is not None and story.owed.id == found.id and found.started_from is None:
        found = replace(found, started_from=story.owed.started_from)
    held.instance = found
    story.record(instance=found)


def _looked_up(held: Held, deadline: Deadline) -> Instance | None:
    """What the look-up under way finds; None when it has to be done anew, for example because the machine is to be
    started."""
    look_up, held.look_up = held.look_up, None
    if look_up is None:
        return None
    try:
        return look_up.wait(deadline)
    except CloudError as error:
        log.info("the first look-up: %s: %s", error.code, error)
        return None
    finally:
        look_up.close()
