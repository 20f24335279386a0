"""Getting an instance into a status: running, stopped or suspended, through whatever it is doing now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ...core.errors import CloudError, DeadlinePassed
from ...core.model import Instance
from ..client.api import Api
from ..client.error_mapping import NotReady, Refused
from . import operations, search, stop_reason
from .convert import has_local_ssd, status_of, whereabouts

if TYPE_CHECKING:
    from google.cloud import compute_v1

MayStart = Literal["always", "preempted", "never"]

STOPPED = frozenset({"TERMINATED", "STOPPED"})
DOWN = STOPPED | {"SUSPENDED"}
COMING_UP = frozenset({"PROVISIONING", "STAGING", "PENDING", "REPAIRING"})
UP = COMING_UP | {"RUNNING"}
GOING_DOWN = frozenset({"PENDING_STOP", "STOPPING", "SUSPENDING"})
LOOK_EVERY_S = 0.5
TELL_EVERY_S = 10.0
# Until a request that was sent just before shows in the status.
SETTLE_S = 2.0
_WORDS = {
    "start": "Starting {}",
    "resume": "Resuming {}",
    "stop": "Waiting for {} to stop",
    "suspend": "Waiting for {} to be suspended",
}


@dataclass
class Watch:
    """Looks at one instance, and says how it is doing: at each new status, and every ``TELL_EVERY_S``.

    ``raw`` and ``status`` are what the last look showed. ``goal`` completes "it was not … within 300 s";
    ``refused``: why the last request was not possible yet.
    """

    api: Api
    instance: Instance
    raw: compute_v1.Instance
    goal: str = "running"
    refused: str = ""
    began: float = field(default_factory=time.monotonic)
    _told: tuple[str, float] = ("", 0.0)

    @property
    def status(self) -> str:
        return status_of(self.raw)

    def look(self) -> None:
        """Raises ``CloudError`` ``instance-not-found`` when it was deleted, or another has its name now, and
        ``DeadlinePassed`` with the status that was seen last."""
        try:
            self.raw = same_instance(self.api, self.instance)
        except DeadlinePassed as exc:
            raise self.too_late() from exc

    def tell(self, words: str) -> None:
        """``words`` is a format with the instance's name: ``Waiting for {} to stop``."""
        now = time.monotonic()
        before, told_at = self._told
        if self.status == before and now - told_at < TELL_EVERY_S:
            return
        self._told = (self.status, now)
        waited = f", {now - self.began:.0f} s" if now - self.began >= 1 else ""
        self.api.tell(f"{words.format(self.instance.name)} ({self.status}){waited}")

    def pause(self) -> None:
        """A moment, and another look."""
        if self.api.deadline.passed():
            raise self.too_late()
        self.api.deadline.pause(LOOK_EVERY_S)
        self.look()

    def too_late(self) -> DeadlinePassed:
        within_s = self.api.deadline.within_s
        what = f"{self.instance.name} was not {self.goal} within {within_s:.{0 if within_s >= 1 else 1}f} s"
        allowed = f"{self.api.allows}, or see" if self.api.allows else "See"
        hint = f"{allowed} how it does: gcloud compute instances describe {whereabouts(self.instance)}"
        why = f"its status is {self.status}" + (f"; Compute Engine says: {self.refused}" if self.refused else "")
        return DeadlinePassed(what, why, hint)


def same_instance(api: Api, instance: Instance) -> compute_v1.Instance:
    """``instance`` as it is now. Raises ``CloudError`` ``instance-not-found``, also when another has its name."""
    raw = search.get(api, instance.name, instance.zone or "")
    if instance.id != str(raw.id):
        why = f"its id was {instance.id}, now it is {raw.id}"
        raise CloudError("instance-not-found", f"{instance.name} was replaced by another instance", why)
    return raw


def ensure_running(
    watch: Watch, *, may_start: MayStart, starting: Callable[[Instance], None], forbidden_by_profile: bool = False
) -> str | None:
    """Returns when it runs: with the status that we started or resumed it from, None if we did neither.

    ``starting`` is given the instance, with ``started_from``, before the request is sent, and without it when the
    request was refused because somebody else has started it meanwhile. ``may_start`` ``preempted``:
    only if Compute Engine took it back; what a person stopped stays so.
    """
    started_from: str | None = None
    while (status := watch.status) != "RUNNING":
        if status in COMING_UP:
            watch.tell("Waiting for {} to run")
        elif may_start == "never" and status in DOWN | GOING_DOWN:
            raise _not_started(watch, stop_reason.last_stop(watch.api, watch.instance), forbidden_by_profile)
        elif status in GOING_DOWN:
            watch.tell("Waiting for {} to stop, to start it again")
        elif status not in DOWN:
            what = f"{watch.instance.name} can be neither used nor started"
            raise CloudError("instance-not-startable", what, f"its status is {status}")
        elif started_from is not None:
            raise _stopped_again(watch.instance, status)
        else:
            if may_start == "preempted":
                _check_preempted(watch)
            started_from = status
            starting(replace(watch.instance, status=status, started_from=status))
            try:
                _bring_up(watch, "resume" if status == "SUSPENDED" else "start")
            except Refused as exc:
                watch.look()
                if watch.status not in UP and not isinstance(exc, NotReady):
                    raise
                watch.refused = exc.why
                started_from = None  # somebody else was quicker: it is not ours to put back
                starting(replace(watch.instance, status=watch.status))
                if watch.status not in UP:
                    watch.pause()
            continue
        watch.pause()
    return started_from


def bring_down(watch: Watch, action: str, *, wait: bool) -> str:
    """Stops or suspends it, and answers with its status; a machine that does not run stays as it is.

    ``wait``: until it is down, or the deadline passes on the way; else only until it is on the way.
    """
    watch.goal = "down"
    try:
        _bring_down(watch, action, wait=wait)
    except DeadlinePassed as exc:
        if watch.status not in GOING_DOWN:
            raise watch.too_late() from exc
    return watch.status


def _bring_down(watch: Watch, action: str, *, wait: bool) -> None:
    operation = _ask_down(watch, action)
    if wait and operation is not None:
        operations.wait_until_done(watch.api, action, watch.instance, operation, lambda: _going(watch, action))
    watch.look()
    while watch.status in UP or (wait and watch.status in GOING_DOWN):
        watch.tell(_WORDS[action])
        watch.pause()


def _ask_down(watch: Watch, action: str) -> compute_v1.Operation | None:
    """None when it does not run. Some changes are not possible until an instance that comes up is up."""
    watch.look()
    while watch.status in UP:
        try:
            return operations.begin(watch.api, action, watch.instance, watch.raw)
        except Refused as exc:
            if watch.status not in COMING_UP and not isinstance(exc, NotReady):
                if action == "suspend" and has_local_ssd(watch.raw):
                    discard = f"gcloud compute instances suspend {whereabouts(watch.instance)} --discard-local-ssd=true"
                    exc.hint = f"What is on its Local SSD was to be kept. To lose it: {discard}"
                raise
            watch.refused = exc.why
        watch.tell(f"Waiting until {{}} can be told to {action}")
        watch.goal = f"ready to {action}"
        watch.pause()
    return None


def put_back(watch: Watch) -> str:
    """Undoes a start or resume. The request may have been sent without anyone having seen its answer: a machine that
    still looks down is looked at until that would show."""
    started_from, watch.goal = watch.instance.started_from, "seen to start"
    settled = time.monotonic() + SETTLE_S
    while watch.status == started_from and time.monotonic() < settled:
        watch.pause()
    if started_from is None or watch.status in DOWN | GOING_DOWN:
        return watch.status
    status = bring_down(watch, "suspend" if started_from == "SUSPENDED" else "stop", wait=False)
    watch.api.tell(f"{watch.instance.name} goes back to {started_from} ({status})")
    return status


def _bring_up(watch: Watch, action: str) -> None:
    watch.tell(_WORDS[action])
    try:
        operation = operations.begin(watch.api, action, watch.instance, watch.raw)
        operations.wait_until_done(watch.api, action, watch.instance, operation, lambda: _going(watch, action))
        watch.look()
    except DeadlinePassed as exc:
        raise watch.too_late() from exc


def _going(watch: Watch, action: str) -> None:
    watch.look()
    watch.tell(_WORDS[action])


def _check_preempted(watch: Watch) -> None:
    stop = stop_reason.last_stop(watch.api, watch.instance)
    if stop is None or not stop.preempted:
        raise _not_started(watch, stop, forbidden_by_profile=False)
    watch.api.tell(f"{watch.instance.name} is started again: {stop.words}")


def _not_started(watch: Watch, stop: stop_reason.Stop | None, forbidden_by_profile: bool) -> CloudError:
    instance, status = watch.instance, watch.status
    verb = "resume" if status in ("SUSPENDED", "SUSPENDING") else "start"
    why = f"{stop.words}; its status is {status}" if stop else f"its status is {status}"
    by_hand = f"gcloud compute instances {verb} {whereabouts(instance)}"
    if forbidden_by_profile:
        why += ", and the profile says `target.start: false`"
        hint = f"Set `target.start: true`, or run: {by_hand}"
    else:
        hint = f"`remote-runtime up` starts it again, or run: {by_hand}"
    return CloudError("instance-stopped", f"{instance.name} is not running", why, hint)


def _stopped_again(instance: Instance, status: str) -> CloudError:
    return CloudError(
        "instance-not-startable",
        f"{instance.name} started and stopped again",
        f"its status is {status}",
        f"See why: gcloud compute instances get-serial-port-output {whereabouts(instance)}",
    )
