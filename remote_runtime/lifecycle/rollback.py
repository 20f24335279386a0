"""Undoes the finished steps of an `up` that fails, in reverse order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from ..core.deadline import Deadline
from ..core.errors import CloudError, RemoteRuntimeError, describe_bug
from ..core.model import Instance
from .context import BringUpContext

log = logging.getLogger(__name__)
ROLLBACK_S = 120.0


class Rollback:
    """A step that fails does not keep the others from being run. ``progress`` is called with the description of each
    step that has one. ``failures``: descriptions of what could not be undone."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self._steps: list[tuple[str, Callable[[], object], str]] = []
        self._deferred: list[str] = []
        self.failures: list[str] = []

    def push(self, description: str, step: Callable[[], object], *, key: str = "") -> None:
        """``description`` is empty for a step that is not shown. A step replaces the one with the same ``key``."""
        self.discard(key)
        self._steps.append((description, step, key))

    def discard(self, key: str) -> None:
        self._steps = [each for each in self._steps if not key or each[2] != key]

    def defer(self, description: str) -> None:
        """A leftover of an earlier run that can only be cleaned up later. Reported as a failure unless
        ``resolve_deferred`` is called."""
        self._deferred.append(description)

    def resolve_deferred(self) -> None:
        self._deferred.clear()

    def run(self) -> None:
        with ExitStack() as stack:  # which calls the others too when one of them is interrupted
            stack.callback(lambda: self.failures.extend(self._deferred))
            for description, step, _ in self._steps:
                stack.callback(self._run_step, description, step)

    def _run_step(self, description: str, step: Callable[[], object]) -> None:
        try:
            if description:
                self._progress(f"Undoing: {description}")
            step()
        except RemoteRuntimeError as error:
            self.failures.append(f"{description or 'cleaning up'} failed: {error}")
        except Exception as error:
            log.exception("a bug of ours in a rollback")
            self.failures.append(f"{description or 'cleaning up'} failed: {describe_bug(error)}")


def adopt_leftovers(context: BringUpContext, rollback: Rollback) -> None:
    """On failure, undo what an earlier `up` started and did not live to undo."""
    if context.leftover_instance is not None and context.leftover_instance.started_from:
        restore_on_failure(context, context.leftover_instance, rollback)
    if context.has_leftover_server:
        rollback.defer("Jupyter of an earlier `up` may still run on the machine")


def restore_on_failure(context: BringUpContext, instance: Instance, rollback: Rollback) -> None:
    """On failure, restore the instance's former status. Does nothing if it turned out that somebody else started it."""

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
