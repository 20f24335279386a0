"""The background process of one runtime: brings it up, keeps it connected and stops it.

It locks ``NAME.alive`` while it runs and is the only writer of ``NAME.json``. Commands use its control channel.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

from .. import ssh
from ..core.access import InstalledKey
from ..core.deadline import Deadline
from ..core.documents import runtime_document
from ..core.errors import Interrupted, RemoteRuntimeError
from ..core.model import Health, Runtime, Verdict
from ..core.move import UpConsent
from ..core.profile import Profile
from ..jupyter import health
from ..lifecycle.bring_up import ensure
from ..lifecycle.context import BringUpContext
from ..lifecycle.find import apply_lookup
from ..lifecycle.resources import Resources, endpoint
from ..lifecycle.take_down import TakeDown
from ..state import ipc, store
from ..targets import Target, open_target
from . import results
from .cluster import ClusterKeeper
from .confirmation import Confirmations
from .control_server import ControlServer
from .monitor import Monitor
from .profile_change import close_changed, error_of_left, without_cluster_change
from .reconnect import Reconnector, record_failure
from .requests import ControlRequest, RequestQueue
from .runtime_record import RuntimeRecord, now, profile_yaml
from .subscribers import ReplyProgress, Subscribers

log = logging.getLogger(__name__)
FIRST_CLIENT_TIMEOUT_S = 15.0
POLL_S = 0.5
MAX_CHECK_INTERVAL_S = 15.0
REST_FACTOR = 4


@dataclass
class Keeper:
    """One run, from the first `up` to `down`. ``profile_text``: ``profile`` as YAML. ``within_s``: limit of the first
    `up`; None for the profile's. ``overrides``: values of `up`'s command line, ``consent``: what its user agrees to."""

    state: store.StateDir
    profile: Profile
    profile_text: str
    environ: dict[str, str]
    record: RuntimeRecord
    requests: RequestQueue
    remembered_port: int | None
    within_s: float | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    consent: UpConsent = field(default_factory=UpConsent)

    def __post_init__(self) -> None:
        self.resources = Resources.following(self.record.runtime, on_change=self.requests.wake)
        self.subscribers = Subscribers()
        self._confirmations = Confirmations(self.subscribers, self.requests.cancelled)
        self._keys = ssh.Keys()
        self.cluster = ClusterKeeper(self.record, self.resources, self.environ, self._open_target, self._prompt)
        self._monitor = Monitor(self.resources, self.requests.cancelled, self.endpoint)
        self._previous: Runtime | None = self.record.runtime  # as an earlier keeper left it; None once it is ready

    @property
    def has_been_ready(self) -> bool:
        return self._previous is None

    def run(self) -> None:
        """Returns when the runtime is down or did not come up. Raises only bugs."""
        self.record.update()
        with ipc.serve(self.state, self.profile.name, ControlServer(self)):
            try:
                if not self.subscribers.subscribed.wait(FIRST_CLIENT_TIMEOUT_S):
                    self._report_failed_start(Interrupted(why="no `up` waits for this runtime"))
                elif self._check_same_machine() and self._bring_up():
                    self._keep_up()
            except Exception:
                self.resources.close()
                self.record.update(state="down", why="the background process failed; its log has the details")
                self.subscribers.send({"event": "bug", "log": str(self.state.file_path(self.profile.name, "log"))})
                raise

    def _check_same_machine(self) -> bool:
        """False if a keeper that died left something on another machine, which only that machine's profile can end."""
        error = error_of_left(self.profile, self.record.runtime)
        if error is None:
            target, path = self.profile.target_fields(), str(self.profile.path)
            self.record.update(target=target, profile_path=path, profile_text=self.profile_text)
            return True
        self.resources.close()
        self.record.update(state="down", why=str(error))
        self.subscribers.send({"event": "failed", "error": error.as_dict(), "remains": [], "ends": True})
        return False

    def _bring_up(self) -> bool:
        try:
            deadline = Deadline(self.within_s or self.profile.up_timeout_s, self.requests.cancelled)
            self._on_ready(ensure(self._context(), self.resources, start=True, deadline=deadline))
        except RemoteRuntimeError as error:
            self._report_failed_start(error)
            return False
        return True

    def _report_failed_start(self, error: RemoteRuntimeError) -> None:
        """Ends a start that failed: the state file says what is left, or is deleted."""
        self.resources.close()
        has_leftovers = results.save_failed_start(self.record, error)
        runtime, failure = self.record.runtime, results.failure_to_save(error)
        self.record.save_last_run(
            self.remembered_port, failure or store.load_last_run(self.state, runtime.name).failure
        )
        down_requests = [request for request in self.requests.drain() if request.op == "down"]
        abandoned = isinstance(error, Interrupted) and not down_requests and not self.requests.terminated
        event = {"event": "failed", "error": error.as_dict(), "remains": list(error.remains)}
        unused = not (has_leftovers or self.remembered_port) and results.did_nothing(runtime)
        self.subscribers.send({**event, "ends": True, "undone": True, "abandoned": abandoned, "unused": unused})
        if down_requests and (has_leftovers or runtime.instance is not None):
            self._take_down(down_requests[0], no_server=not has_leftovers)
        elif not has_leftovers:
            self.record.delete()
        results.report_nothing_to_take_down(down_requests, runtime.name)

    def _on_ready(self, result: Health, request: ControlRequest | None = None) -> None:
        runtime = self.record.runtime
        self.remembered_port = runtime.local_port
        self.record.save_last_run(self.remembered_port)
        since = runtime.since if self.has_been_ready else now()
        record = self.record.update if self.has_been_ready else self.record.save_or_fail
        facts = {"rtt_ms": result.rtt_ms, "since": since, **self.resources.stream_facts()}
        record(state="ready", why="", last_error=None, seen="", **results.finished_facts(runtime), **facts)
        self._previous = None
        self._confirmations.finish_move(self.target())
        log.info("ready on local port %s", runtime.local_port)
        self.cluster.start(self.profile)
        self.subscribers.send_result({"event": "ready", "runtime": runtime_document(self.record.runtime)}, request)

    def _keep_up(self) -> None:
        checked_at = time.monotonic()
        while not self.requests.terminated:
            wait_s = max(0.0, checked_at + self._check_interval_s() - time.monotonic())
            request = self.requests.next(wait_s if self.resources.tells_changes else min(POLL_S, wait_s))
            if request is not None and request.op == "down" and self._take_down(request):
                return
            if request is not None and request.op == "up":
                self._handle_up(request)
            is_late = time.monotonic() - checked_at >= self._check_interval_s()
            due = is_late or (request is not None and request.op == "check")
            apply_lookup(self.resources, self.subscribers, self.record.update)
            problem, healthy = self._monitor.find_problem(check_now=due, within_s=2 * self.profile.ssh.keepalive_s)
            if healthy is not None:
                self.record.update(state="ready", why="", rtt_ms=healthy.rtt_ms)
            if problem is not None and not self._reconnect(*problem):
                return
            if due or problem is not None:
                checked_at = time.monotonic()
        self.record.update(state="down", why="the background process was stopped; Jupyter may still be running")
        self.resources.close()

    def _check_interval_s(self) -> float:
        """Until the next check of the connection to Jupyter: longer while no client is there."""
        interval_s = min(MAX_CHECK_INTERVAL_S, self.profile.ssh.keepalive_s)
        return interval_s if self.resources.is_in_use else REST_FACTOR * interval_s

    def _reconnect(self, verdict: Verdict, why: str) -> bool:
        """Returns False when the runtime is down instead of ready again."""
        log.warning("%s: %s", verdict, why)
        self.record.update(state=verdict, why=why, seen=now(), streams=self.resources.stream_status())
        outage = results.Outage(self.resources, why)
        self.subscribers.send({"event": "outage", "text": outage.begin_text()})
        if not self._monitor.is_jupyter_listening():
            self.resources.pause_forwarding()
        reconnector = Reconnector(self.resources, self.requests, self.record, self._repair_context)
        with contextlib.closing(reconnector):
            while True:
                outcome = reconnector.run()
                if isinstance(outcome, Health):
                    self.subscribers.send({"event": "outage", "text": outage.finish(self.record)})
                    self._on_ready(outcome)
                    return True
                if isinstance(outcome, RemoteRuntimeError):
                    self._end_idle_stopped(outcome)
                    return False
                if outcome is None or (outcome.op == "up" and self._handle_up(outcome)):
                    return True
                if outcome.op == "down" and self._take_down(outcome):
                    return False

    def _end_idle_stopped(self, error: RemoteRuntimeError) -> None:
        """Leaves a machine that was stopped when idle as it is; the next `up` starts another keeper."""
        self.cluster.end_workers(self.subscribers)
        self.resources.close()
        why = f"{error}; `idle` in the profile stopped it"
        self.record.update(state="down", why=why, last_error=error.as_dict())

    def _handle_up(self, request: ControlRequest) -> bool:
        """Another `up` of this runtime: the same steps, most of which find their work done. False if it failed."""
        previous_profile = self.profile
        try:
            if request.profile is not None:
                self._apply_profile(request.profile)
            self.overrides.update(request.overrides)
            self.consent = request.consent
            self.environ = {**self.environ, **(request.environ or {})}
            if self.resources.session is None or self.resources.session.closed:
                self.resources.instance = None
            deadline = Deadline(request.within_s or self.profile.up_timeout_s, self.requests.cancelled)
            self._on_ready(ensure(self._context(), self.resources, start=True, deadline=deadline), request)
        except RemoteRuntimeError as error:
            if self.profile is not previous_profile or request.profile is None:  # else nothing was touched
                record_failure(self.record, error)
            if error.code == "port-in-use":
                self._apply_profile(previous_profile)  # the previous ports are free again
            event = {"event": "failed", "error": error.as_dict(), "remains": list(error.remains)}
            self.subscribers.send_result({**event, "undone": True}, request)
            return False
        finally:
            self.requests.up_in_progress.clear()
        return True

    def _apply_profile(self, profile: Profile) -> None:
        """Raises ``LocalError``, and changes nothing then."""
        profile = without_cluster_change(self.profile, profile, self.subscribers.note)
        if close_changed(self.profile, profile, self.resources, self.subscribers.note):
            self.remembered_port = self.record.runtime.local_port
        self.profile = profile
        self.record.update(profile_path=str(profile.path), profile_text=profile_yaml(profile))

    def _take_down(self, request: ControlRequest, *, no_server: bool = False) -> bool:
        """False if the client does not confirm that kernels end, or a VM is deleted; or if that is not allowed."""
        limits = self.profile.timeouts
        step_s = max(limits.ssh_s, limits.jupyter_s)  # stopping an instance reports its progress meanwhile
        request.reply({"event": "limits", "step_s": step_s, "whole_s": 2 * limits.total_s})
        try:
            result = TakeDown(
                self.record.runtime,
                self.resources,
                self.target(),
                replace(request.options, no_server=no_server),
                progress=ReplyProgress(request),
                prompt=self._prompt,
                confirm=request.confirm,
                confirm_deletion=request.confirm_deletion,
                record=self._save_keys,
                cluster_end=self.cluster.ending(ReplyProgress(request)),
            ).run()
        except RemoteRuntimeError as error:
            return results.report_not_taken_down(error, request)
        self._save_keys(self.record.runtime.keys)
        results.report_taken_down(result, request, self.record, self.subscribers)
        return True

    def _save_keys(self, keys: tuple[InstalledKey, ...]) -> None:
        self.record.update(keys=keys)
        self.record.save_last_run(self.remembered_port)

    def _repair_context(self) -> BringUpContext:
        """For repairs: facts that the disk does not take are no reason to give up."""
        return replace(self._context(), record=self.record.update)

    def _context(self) -> BringUpContext:
        return BringUpContext(
            client_id=self.record.runtime.client_id,
            target=self.target(),
            progress=self.subscribers,
            prompt=self._prompt,
            record=self.record.save_or_fail,
            remembered_port=self.remembered_port,
            previous=self._previous,
            keys=self.record.runtime.keys,
            prepare_head=functools.partial(self.cluster.prepare_head, self.profile) if self.profile.cluster else None,
            **self._confirmations.for_context(self.consent, self.profile.target.kind),
        )

    def target(self) -> Target:
        return self._open_target(self.profile)

    def _open_target(self, profile: Profile) -> Target:
        return open_target(profile, self.state, self.environ, self._keys)

    def _prompt(self, prompt: str, *, secret: bool, code: str) -> str:
        deadline = Deadline(600.0, self.requests.cancelled)
        return self.subscribers.prompt(prompt, secret=secret, code=code, deadline=deadline)

    def endpoint(self) -> health.Endpoint:
        runtime = self.record.runtime
        if runtime.local_port is None or runtime.server is None:
            raise ValueError("expected a runtime that is ready")
        return endpoint(runtime.local_port, runtime.server, self.profile, self.resources.forwarder)
