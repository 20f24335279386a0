"""Undoes the finished steps of an `up` that fails, in reverse order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from ..core.creation import STATUS_CREATED
from ..core.deadline import Deadline
from ..core.errors import CloudError, Interrupted, RemoteRuntimeError, describe_bug
from ..core.model import Instance
from .context import BringUpContext, ProgressSink

log = logging.getLogger(__name__)
ROLLBACK_S = 120.0


class Rollback:
    """A step that fails does not keep the others from being run. ``failures``: descriptions of what could not be
    undone. ``is_cancelled``: a user, not a failure, is the reason."""

    def __init__(self, progress: ProgressSink) -> None:
        self._progress = progress
        self._steps: list[tuple[str, str, Callable[[], object], str]] = []
        self._deferred: list[str] = []
        self.failures: list[str] = []
        self.is_cancelled = False

    def push(self, description: str, step: Callable[[], object], *, done: str = "", key: str = "") -> None:
        """``description`` says what ``step`` does, ``done`` what it has done then; both are empty for a step that is
        not shown. A step replaces the one with the same ``key``."""
        self.discard(key)
        self._steps.append((description, done, step, key))

    def discard(self, key: str) -> None:
        self._steps = [each for each in self._steps if not key or each[3] != key]

    def defer(self, description: str) -> None:
        """A leftover of an earlier run that can only be cleaned up later. Reported as a failure unless
        ``resolve_deferred`` is called."""
        self._deferred.append(description)

    def resolve_deferred(self) -> None:
        self._deferred.clear()

    def run(self, cause: BaseException | None = None) -> None:
        self.is_cancelled = isinstance(cause, Interrupted)
        self._progress.fail()
        with ExitStack() as stack:  # which calls the others too when one of them is interrupted
            stack.callback(lambda: self.failures.extend(self._deferred))
            for description, done, step, _ in self._steps:
                stack.callback(self._run_step, description, done, step)

    def _run_step(self, description: str, done: str, step: Callable[[], object]) -> None:
        try:
            if description:
                self._progress.step(f"Undoing: {description}", f"Undone: {done}")
            step()
        except RemoteRuntimeError as error:
            self._add_failure(description, str(error))
        except Exception as error:
            log.exception("internal error in a rollback")
            self._add_failure(description, describe_bug(error))

    def _add_failure(self, description: str, why: str) -> None:
        self._progress.fail()
        self.failures.append(f"{description or 'cleaning up'} failed: {why}")


def adopt_leftovers(context: BringUpContext, rollback: Rollback) -> None:
    """On failure, undo what an earlier `up` started and did not live to undo."""
    if context.leftover_instance is not None:
        restore_on_failure(context, context.leftover_instance, rollback)
    if context.has_leftover_server:
        rollback.defer("Jupyter from an earlier `up` may still be running on the machine")


def restore_on_failure(context: BringUpContext, instance: Instance, rollback: Rollback) -> None:
    """On failure, restore the instance's former status. Does nothing if it turned out that another user started it."""

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
    if instance.started_from not in (None, STATUS_CREATED):
        goal = f"{instance.name} back to {instance.started_from}"
        rollback.push(f"putting {goal}", restore, done=f"put {goal}", key=key)
