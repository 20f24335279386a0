"""What an `up` creates in the cloud: saved before it is requested, and deleted again if the `up` fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.creation import STATUS_CREATED, CloudResource, ZoneAttempt, attempt_lines
from ..core.deadline import Deadline
from ..core.model import CreationResult, Instance
from ..targets import CreateOptions
from .context import BringUpContext
from .rollback import ROLLBACK_S, Rollback

ROLLBACK_KEY = "created"


class CreatedResources:
    """What this `up` and an unfinished one before it have requested. ``old``: the instance that a new one replaces."""

    old: Instance | None = None

    def __init__(self, context: BringUpContext, rollback: Rollback) -> None:
        self._context, self._rollback = context, rollback
        self._made = list(context.leftover_resources)
        self._undeleted: set[str] = set()  # zones with a failed instance that is still there
        if self._made:
            self._delete_on_failure()

    @property
    def first_zone(self) -> str:
        """Where an earlier `up` had begun to create the instance; empty if none had."""
        return next((each.zone for each in self._made if each.zone), "")

    def options(self, deadline: Deadline) -> CreateOptions:
        return CreateOptions(
            self._context.progress, deadline, self._before_insert, self._after_zone, self._after_delete
        )

    def adopt(self, instance: Instance) -> Instance:
        """``instance`` exists. What was made elsewhere is deleted at once: it is never used again."""
        self.delete_strays(instance.zone)
        if not any(each.kind == "instance" for each in self._made):
            if self._made:  # its disks
                self._save([])
            return instance
        return replace(instance, started_from=instance.started_from or STATUS_CREATED)

    def delete_strays(self, zone: str | None = None) -> None:
        """Deletes what an earlier `up` left outside ``zone``; None: everywhere."""
        strays = [each for each in self._made if each.kind == "snapshot" or each.zone != zone]
        if strays:
            where = f" in {strays[0].zone}" if strays[0].zone else ""
            self._context.progress.step(f"Deleting {strays[0].name} of an earlier `up`{where}")
            self._delete(strays)

    def finish(self, result: CreationResult) -> Instance:
        """The instance of a creation."""
        if len(result.attempts) > 1:
            for line in attempt_lines(result.attempts):
                self._context.progress.note(line)
        remains = [each for each in self._made if each.zone in self._undeleted or each.kind != "instance"]
        if result.resource is None:
            self._save(remains)
            return result.instance
        self._save([*remains, replace(result.resource, id=result.instance.id or "")])
        return replace(result.instance, started_from=STATUS_CREATED)

    def _before_insert(self, resource: CloudResource) -> None:
        others = [each for each in self._made if _key(each) != _key(resource)]
        self._save([*others, resource])
        self._delete_on_failure()

    def _after_zone(self, attempt: ZoneAttempt) -> None:
        if attempt.remains:
            self._undeleted.add(attempt.zone)
        else:
            self._save([each for each in self._made if each.zone != attempt.zone])

    def _after_delete(self, resource: CloudResource) -> None:
        self._save([each for each in self._made if _key(each) != _key(resource)])

    def _save(self, made: list[CloudResource]) -> None:
        self._made = made
        self._context.record(resources=tuple(made))
        if not made:
            self._rollback.discard(ROLLBACK_KEY)

    def _delete_on_failure(self) -> None:
        name = next((each.name for each in self._made if each.kind == "instance"), self._made[0].name)
        self._rollback.push(f"deleting {name}", self._undo, done=f"deleted {name}", key=ROLLBACK_KEY)

    def _undo(self) -> None:
        settings = self._context.profile.creation
        if settings is not None and settings.keep_on_failure and not self._rollback.is_cancelled:
            kept = f"{self._made[0].name} keeps running and costs money: `create.keep_on_failure` is set"
            self._context.progress.note(kept)
            return
        self._delete(self._made)
        self._context.record(instance=self.old)

    def _delete(self, resources: Sequence[CloudResource]) -> None:
        context = self._context
        context.target.delete_resources(
            resources, context.client_id, progress=context.progress, deadline=Deadline(ROLLBACK_S)
        )
        self._save([each for each in self._made if each not in resources])


def _key(resource: CloudResource) -> tuple[str, str, str]:
    return resource.kind, resource.name, resource.zone
