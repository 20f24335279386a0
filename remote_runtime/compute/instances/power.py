"""Brings an instance to a status (running, stopped, suspended) from any other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ...core.errors import CloudError, DeadlinePassed
from ...core.model import Instance
from ..client.api import Api
from ..client.error_mapping import InvalidRequest, NotReady
from . import operations, search, stop_reason
from .convert import gcloud_command, has_local_ssd, status_of

if TYPE_CHECKING:
    from google.cloud import compute_v1

MayStart = Literal["always", "preempted", "never"]

STOPPED = frozenset({"TERMINATED", "STOPPED"})
DOWN = STOPPED | {"SUSPENDED"}
COMING_UP = frozenset({"PROVISIONING", "STAGING", "PENDING", "REPAIRING"})
UP = COMING_UP | {"RUNNING"}
MOVABLE_CODES = ("no-capacity", "quota-exceeded")
MOVE_HINT = "To move it, with its disks, to another zone, run `remote-runtime up PROFILE --move`"
GOING_DOWN = frozenset({"PENDING_STOP", "STOPPING", "SUSPENDING"})
POLL_EVERY_S = 0.5
REPORT_EVERY_S = 10.0
# A request shows in the status within this time.
SETTLE_S = 2.0
_PROGRESS_TEXTS = {
    "start": "Starting {}",
    "resume": "Resuming {}",
    "stop": "Waiting for {} to stop",
    "suspend": "Waiting for {} to be suspended",
}


@dataclass
class StatusPoller:
    """Polls one instance and reports each new status, and the same one every ``REPORT_EVERY_S``.

    ``raw`` and ``status`` are of the last poll. ``goal`` completes "it was not … within 300 s"; ``rejection``: why the
    last request was not possible yet.
    """

    api: Api
    instance: Instance
    raw: compute_v1.Instance
    goal: str = "running"
    rejection: str = ""
    started_at: float = field(default_factory=time.monotonic)
    _last_report: tuple[str, float] = ("", 0.0)

    @property
    def status(self) -> str:
        return status_of(self.raw)

    def poll(self) -> None:
        """Raises ``CloudError`` ``instance-not-found`` if the instance was deleted or replaced, and ``DeadlinePassed``
        with the last status."""
        try:
            self.raw = reload(self.api, self.instance)
        except DeadlinePassed as exc:
            raise self.timeout_error() from exc

    def report(self, words: str) -> None:
        """``words`` is a format with the instance's name: ``Waiting for {} to stop``."""
        now = time.monotonic()
        before, reported_at = self._last_report
        if self.status == before and now - reported_at < REPORT_EVERY_S:
            return
        self._last_report = (self.status, now)
        waited = f", {now - self.started_at:.0f} s" if now - self.started_at >= 1 else ""
        self.api.progress(f"{words.format(self.instance.name)} ({self.status}){waited}")

    def wait_and_poll(self) -> None:
        if self.api.deadline.passed():
            raise self.timeout_error()
        self.api.deadline.sleep(POLL_EVERY_S)
        self.poll()

    def timeout_error(self) -> DeadlinePassed:
        within_s = self.api.deadline.timeout_s
        what = f"{self.instance.name} was not {self.goal} within {within_s:.{0 if within_s >= 1 else 1}f} s"
        allowed = f"{self.api.timeout_hint}, or check" if self.api.timeout_hint else "Check"
        hint = f"{allowed} its status with {gcloud_command('instances', 'describe', self.instance)}"
        why = f"its status is {self.status}" + (f"; Compute Engine reports: {self.rejection}" if self.rejection else "")
        return DeadlinePassed(what, why, hint)


def reload(api: Api, instance: Instance) -> compute_v1.Instance:
    """``instance`` as it is now. Raises ``CloudError`` ``instance-not-found``, also if another one has its name now."""
    raw = search.get(api, instance.name, instance.zone or "")
    if instance.id != str(raw.id):
        why = f"its id was {instance.id}, now it is {raw.id}"
        raise CloudError("instance-not-found", f"{instance.name} was replaced by another instance", why)
    return raw


def ensure_running(
    poller: StatusPoller,
    *,
    may_start: MayStart,
    before_start: Callable[[Instance], None],
    forbidden_by_profile: bool = False,
) -> str | None:
    """Returns when the instance runs: the status from which it was started or resumed, None if it ran already.

    ``before_start`` is called with the instance and its ``started_from`` before the request is sent, and again without
    that if the request is refused because another client has started the instance. ``may_start``: as for ``find``.
    """
    started_from: str | None = None
    while (status := poller.status) != "RUNNING":
        if status in COMING_UP:
            poller.report("Waiting for {} to run")
        elif may_start == "never" and status in DOWN | GOING_DOWN:
            stop = stop_reason.stop_reason(poller.api, poller.instance, poller.raw)
            raise _not_running_error(poller, stop, forbidden_by_profile)
        elif status in GOING_DOWN:
            poller.report("Waiting for {} to stop, to start it again")
        elif status not in DOWN:
            what = f"Can't start {poller.instance.name}"
            raise CloudError("instance-not-startable", what, f"its status is {status}")
        elif started_from is not None:
            raise _stopped_again_error(poller.instance, status)
        else:
            if may_start == "preempted":
                _check_preempted(poller)
            started_from = status
            before_start(replace(poller.instance, status=status, started_from=status))
            try:
                _bring_up(poller, "resume" if status == "SUSPENDED" else "start")
            except InvalidRequest as exc:
                poller.poll()
                if poller.status not in UP and not isinstance(exc, NotReady):
                    raise
                poller.rejection = exc.why
                started_from = None  # another client started it: the rollback leaves it running
                before_start(replace(poller.instance, status=poller.status))
                if poller.status not in UP:
                    poller.wait_and_poll()
            continue
        poller.wait_and_poll()
    return started_from


def bring_down(poller: StatusPoller, action: str, *, wait: bool) -> str:
    """Stops or suspends the instance, and returns its status; one that does not run stays as it is. ``wait``: until it
    is down or the deadline passes; else only until it is stopping or suspending."""
    poller.goal = "down"
    try:
        _bring_down(poller, action, wait=wait)
    except DeadlinePassed as exc:
        if poller.status not in GOING_DOWN:
            raise poller.timeout_error() from exc
    return poller.status


def _bring_down(poller: StatusPoller, action: str, *, wait: bool) -> None:
    operation = _request_down(poller, action)
    if wait and operation is not None:
        operations.wait_until_done(
            poller.api, action, poller.instance, operation, lambda: _poll_and_report(poller, action)
        )
    poller.poll()
    while poller.status in UP or (wait and poller.status in GOING_DOWN):
        poller.report(_PROGRESS_TEXTS[action])
        poller.wait_and_poll()


def _request_down(poller: StatusPoller, action: str) -> compute_v1.Operation | None:
    """None if the instance does not run. Some requests are refused until an instance that is starting runs."""
    poller.poll()
    while poller.status in UP:
        try:
            return operations.submit(poller.api, action, poller.instance, poller.raw)
        except InvalidRequest as exc:
            if poller.status not in COMING_UP and not isinstance(exc, NotReady):
                if action == "suspend" and has_local_ssd(poller.raw):
                    discard = gcloud_command("instances", "suspend", poller.instance, "--discard-local-ssd=true")
                    exc.hint = f"To discard the data on its Local SSD, run {discard}"
                raise
            poller.rejection = exc.why
        poller.report(f"Waiting until {{}} accepts a request to {action}")
        poller.goal = f"ready to {action}"
        poller.wait_and_poll()
    return None


def restore_status(poller: StatusPoller) -> str:
    """Undoes a start or resume. Its request may have been sent without a response: an instance that still looks down is
    polled until a start would show."""
    started_from, poller.goal = poller.instance.started_from, "seen to start"
    settled_at = time.monotonic() + SETTLE_S
    while poller.status == started_from and time.monotonic() < settled_at:
        poller.wait_and_poll()
    if started_from is None or poller.status in DOWN | GOING_DOWN:
        return poller.status
    status = bring_down(poller, "suspend" if started_from == "SUSPENDED" else "stop", wait=False)
    poller.api.progress(f"{poller.instance.name} goes back to {started_from} ({status})")
    return status


def _bring_up(poller: StatusPoller, action: str) -> None:
    poller.report(_PROGRESS_TEXTS[action])
    try:
        operation = operations.submit(poller.api, action, poller.instance, poller.raw)
        operations.wait_until_done(
            poller.api, action, poller.instance, operation, lambda: _poll_and_report(poller, action)
        )
        poller.poll()
    except DeadlinePassed as exc:
        raise poller.timeout_error() from exc
    except CloudError as exc:
        if action == "start" and exc.code in MOVABLE_CODES:
            exc.hint = f"{MOVE_HINT}. {exc.hint}" if exc.hint else MOVE_HINT
        raise


def _poll_and_report(poller: StatusPoller, action: str) -> None:
    poller.poll()
    poller.report(_PROGRESS_TEXTS[action])


def _check_preempted(poller: StatusPoller) -> None:
    stop = stop_reason.stop_reason(poller.api, poller.instance, poller.raw)
    if stop is None or not stop.preempted:
        raise _not_running_error(poller, stop, forbidden_by_profile=False)
    poller.api.progress(f"Starting {poller.instance.name} again: {stop.description}")


def _not_running_error(
    poller: StatusPoller, stop: stop_reason.StopReason | None, forbidden_by_profile: bool
) -> CloudError:
    instance, status = poller.instance, poller.status
    verb = "resume" if status in ("SUSPENDED", "SUSPENDING") else "start"
    why = f"{stop.description}; its status is {status}" if stop else f"its status is {status}"
    by_hand = gcloud_command("instances", verb, instance)
    if forbidden_by_profile:
        why += ", and the profile sets `target.start: false`"
        hint = f"Set `target.start: true`, or run {by_hand}"
    else:
        hint = f"Run `remote-runtime up PROFILE`, or {by_hand}"
    return CloudError("instance-stopped", f"{instance.name} is not running", why, hint)


def _stopped_again_error(instance: Instance, status: str) -> CloudError:
    return CloudError(
        "instance-not-startable",
        f"{instance.name} started and stopped again",
        f"its status is {status}",
        f"See the boot log with {gcloud_command('instances', 'get-serial-port-output', instance)}",
    )
