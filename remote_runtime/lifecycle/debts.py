"""What an `up` owes when it fails: the instance that it started, and what an earlier one did not live to put back."""

from __future__ import annotations

from dataclasses import replace

from ..core.deadline import Deadline
from ..core.errors import CloudError
from ..core.model import Instance
from .context import Story
from .rollback import UNDO_S, Undo


def take_on(story: Story, undo: Undo) -> None:
    """Those of an earlier `up`."""
    if story.owed is not None and story.owed.started_from:
        owe_instance(story, story.owed, undo)
    if story.owed_server:
        undo.owe("Jupyter of an earlier `up` may still run on the machine")


def owe_instance(story: Story, instance: Instance, undo: Undo) -> None:
    """It is to be put back to ``started_from``; to nothing, when it turned out that somebody else has started it."""

    def put_back() -> None:
        try:
            within = Deadline(UNDO_S)
            status = story.machines.put_back(story.profile, instance, tell=story.tell, deadline=within)
        except CloudError as error:
            if error.code != "instance-not-found":
                raise
            status = "GONE"
        story.record(instance=replace(instance, status=status, started_from=None))

    undo.forget(thing := instance.id or instance.name)
    if instance.started_from is not None:
        undo.add(f"putting {instance.name} back to {instance.started_from}", put_back, of=thing)
