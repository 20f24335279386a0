"""What `down` does with the VM: keep, stop, suspend or delete it, or undo what an unfinished `up` did to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..core.creation import STATUS_CREATED, CloudResource
from ..core.deadline import Deadline
from ..core.errors import CloudError, LocalError, RemoteRuntimeError
from ..core.model import Instance, Runtime
from ..core.profile import Profile
from ..targets import Target
from .context import ProgressSink

log = logging.getLogger(__name__)
MIN_STOP_S, MIN_INSTANCE_S = 30.0, 180.0
DOWN_STATUSES = ("TERMINATED", "STOPPED", "STOPPING", "SUSPENDED", "SUSPENDING")
OFF_STATUSES = ("TERMINATED", "STOPPED", "STOPPING", "GONE", "DELETED")
UNKNOWN = "UNKNOWN"
NOT_RECENT = "1970-01-01T00:00:00+00:00"  # a deletion need not wait until it appears
MAY_STILL_COST = "{} may still be running and billing"

Action = Literal["stop", "suspend", "delete"]


class Attempt(Protocol):
    """What ``step`` returns; None if it failed, which adds ``remains`` to the result."""

    def __call__(self, remains: str, step: Callable[[], Any]) -> Any: ...


def instance_action(profile: Profile, asked: Action | None, *, keep_server: bool) -> Action | None:
    """What happens to the instance; ``asked`` replaces the profile's. It keeps running if `down` keeps the server."""
    on_down = profile.on_down.instance
    if asked or keep_server or on_down == "keep":
        return asked
    return on_down


@dataclass
class InstanceEnd:
    """``action``: None leaves it as it is. ``confirm_deletion`` is called with a question, and returns the answer.
    ``notes`` gets messages about what stays. ``machine_answers``: it responded over SSH a moment ago."""

    runtime: Runtime
    target: Target
    action: Action | None
    progress: ProgressSink
    confirm_deletion: Callable[[str], bool]
    attempt: Attempt
    notes: list[str]
    machine_answers: bool = field(default=False, init=False)
    _status: str | None = field(default=None, init=False)

    @property
    def undoes_creation(self) -> bool:
        """Whether an `up` that did not finish created something, which goes without a question."""
        settings = self.target.profile.creation
        is_kept = settings is not None and settings.keep_on_failure
        return self.runtime.unfinished and bool(self.runtime.resources) and not is_kept

    def check_deletion(self) -> None:
        """Asks before a VM is deleted. Raises ``CloudError`` ``not-created-here`` for one of others; ``LocalError``
        ``busy`` if the answer is no."""
        instance = self.runtime.instance
        if self.action != "delete" or self.undoes_creation or instance is None or instance.kind != "gce":
            return
        self.progress.step(f"Checking {instance.name}")
        try:
            now = self._read(instance)
        except CloudError as error:
            if error.code != "instance-not-found":
                raise
            return  # it does not exist: nothing to ask
        require_own(now, self.runtime.client_id)
        gone = [f"{disk.name} ({disk.size_gb} GB)" for disk in now.disks if disk.is_deleted]
        kept = [f"{disk.name} ({disk.size_gb} GB)" for disk in now.disks if not disk.is_deleted]
        question = f"Delete {now.name} in {now.zone}"
        question += f" with its disk{'s' * (len(gone) > 1)} {', '.join(gone)}" if gone else ""
        question += f"? {', '.join(kept)} will remain" if kept else "?"
        if not self.confirm_deletion(question):
            raise LocalError("busy", f"{now.name} was not deleted", "its deletion was not confirmed")

    def run(self) -> str | None:
        """Its status afterwards; None for a machine that is not a cloud's."""
        instance, action = self.runtime.instance, self.action
        if instance is not None and instance.kind == "demo":
            return "GONE"
        if self.undoes_creation:
            undone, made = self._delete(self.runtime.resources), self.runtime.resources
            if instance is None or any(each.kind == "instance" and each.zone == instance.zone for each in made):
                return undone
            action = None  # a VM that was to move: it stays as it was
        if instance is None or instance.kind != "gce":
            return None
        if action == "delete":
            return self._delete(self._resources(instance))
        deadline = Deadline(max(MIN_INSTANCE_S, self.target.profile.timeouts.instance_s))
        may_still_cost, ended = MAY_STILL_COST.format(instance.name), None
        if action is not None:
            running, done = ("Stopping", "Stopped") if action == "stop" else ("Suspending", "Suspended")
            self.progress.step(f"{running} {instance.name}", f"{done} {instance.name}")
            ended = self.attempt(
                may_still_cost,
                lambda: self.target.set_status(instance, action, progress=self.progress, deadline=deadline),
            )
        elif self.runtime.unfinished and instance.started_from not in (None, STATUS_CREATED):
            goal = f"{instance.name} back to {instance.started_from}"
            self.progress.step(f"Putting {goal}", f"Put {goal}")
            ended = self.attempt(
                may_still_cost,
                lambda: self.target.restore_status(instance, progress=self.progress, deadline=deadline),
            )
        status = str(ended or self.status_now(instance))
        if status in DOWN_STATUSES:
            self.notes += billed_notes(self._as_stopped(instance), self.runtime)
        return status

    def status_now(self, instance: Instance) -> str:
        """``RUNNING`` if the machine answered; else what Compute Engine reports, requested once."""
        if self.machine_answers:
            return "RUNNING"
        if self._status is None:
            try:
                self._status = self._read(instance).status
            except RemoteRuntimeError as error:
                self._status = "GONE" if error.code == "instance-not-found" else UNKNOWN
                if self._status == UNKNOWN:
                    self.notes.append(f"{instance.name} may still be running and billing: {error}")
        return self._status

    def _read(self, instance: Instance) -> Instance:
        return self.target.read_instance(instance, progress=self.progress, deadline=Deadline(MIN_STOP_S))

    def _as_stopped(self, instance: Instance) -> Instance:
        """With the address that it keeps: an ephemeral one is released with the stop."""
        if instance.via != "external":
            return instance
        try:
            return self._read(instance)
        except RemoteRuntimeError as error:
            log.info("what %s still costs is not known: %s", instance.name, error)
            return instance

    def _resources(self, instance: Instance) -> tuple[CloudResource, ...]:
        """The instance, and what else this runtime made."""
        others = [each for each in self.runtime.resources if each.kind != "instance"]
        project, zone = instance.project or "", instance.zone or ""
        own = CloudResource("instance", instance.name, project, zone, NOT_RECENT, instance.id or "")
        return (own, *others)

    def _delete(self, resources: Sequence[CloudResource]) -> str:
        main = next((each for each in resources if each.kind == "instance"), resources[0])
        name, deadline = main.name, Deadline(max(MIN_INSTANCE_S, self.target.profile.timeouts.instance_s))
        self.progress.step(f"Deleting {name}", f"Deleted {name}")

        def delete() -> Sequence[str]:
            return self.target.delete_resources(
                resources, self.runtime.client_id, progress=self.progress, deadline=deadline
            )

        ends = self.attempt(f"{name} may still exist and cost money", delete)
        if ends is None:
            return UNKNOWN
        if "foreign" in ends:
            self.notes.append(f"{name} was not deleted: this runtime did not create it")
            return UNKNOWN
        return "GONE" if ends[resources.index(main)] == "gone" else "DELETED"


def require_own(instance: Instance, client_id: str) -> None:
    """Raises ``CloudError`` ``not-created-here`` for an instance that this runtime did not create."""
    if instance.created_by != client_id:
        made = "another runtime created it" if instance.created_by else "`up` did not create it"
        raise CloudError("not-created-here", f"{instance.name} in {instance.zone} is not deleted", made)


def billed_notes(instance: Instance, runtime: Runtime) -> list[str]:
    """What of a VM that does not run still costs money."""
    billed = [f"disk {disk.name} ({disk.size_gb} GB)" for disk in instance.disks]
    billed += [f"reserved address {instance.address}"] if instance.via == "external" and instance.address else []
    billed += [f"snapshot {each.name}" for each in runtime.resources if each.kind == "snapshot"]
    if not billed:
        return []
    is_own = instance.created_by == runtime.client_id
    hint = ". `remote-runtime down PROFILE --delete-instance` deletes the VM" if is_own else ""
    return [f"Still billed: {', '.join(billed)}{hint}"]
