"""What an `up` owes when it fails: the instance that it started, and what an earlier one did not live to put back."""

from __future__ import annotations

from dataclasses import replace

from ..core.deadline import Deadline
from ..core.errors import CloudError
from ..core.model import Instance
from .context import BringUpContext
from .rollback import ROLLBACK_S, Rollback


def adopt_leftovers(context: BringUpContext, rollback: Rollback) -> None:
    """Those of an earlier `up`."""
    if context.leftover_instance is not None and context.leftover_instance.started_from:
        restore_on_failure(context, context.leftover_instance, rollback)
    if context.leftover_server:
        rollback.defer("Jupyter of an earlier `up` may still run on the machine")


def restore_on_failure(context: BringUpContext, instance: Instance, rollback: Rollback) -> None:
    """It is to be put back to ``started_from``; to nothing, when it turned out that somebody else has started it."""

    def restore() -> None:
        try:
            within = Deadline(ROLLBACK_S)
            status = context.target.restore_status(instance, progress=context.progress, deadline=within)
        except CloudError as error:
            if error.code != "instance-not-found":
                raise
            status = "GONE"
        context.record(instance=replace(instance, status=status, started_from=None))

    rollback.discard(key := instance.id or instance.name)
    if instance.started_from is not None:
        rollback.push(f"putting {instance.name} back to {instance.started_from}", restore, key=key)
