"""Restores a runtime that stopped working: retries without end, at first at once, then less and less often."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, describe_bug
from ..core.model import Health, Instance, Verdict
from ..lifecycle.bring_up import ensure
from ..lifecycle.context import BringUpContext
from ..lifecycle.lookup import (
    NO_INSTANCE_CODES,
    BackgroundLookup,
    find_for_reconnect,
    has_same_address,
    is_outdated,
)
from ..lifecycle.resources import Resources
from ..tunnel.network_change import TICK_S, NetworkChangeDetector
from .requests import ControlRequest, RequestQueue
from .runtime_record import RuntimeRecord

log = logging.getLogger(__name__)
MAX_BACKOFF_S = 30.0
# After a connection that was made and lost again the next attempt comes soon: the server accepts this client.
MAX_QUICK_RETRIES = 10
NO_MACHINE_RETRY_S = 10.0
# Without a user these fail again, and for the machine each is a failed login that may ring a phone.
NEEDS_USER = ("two-factor-needed", "passphrase-needed")
STOPPED_WHEN_IDLE = ("stopped-when-idle", "instance-stopped")
CANCEL_POLL_S = 0.25
VERDICTS: dict[str, Verdict] = {
    "stranger-answered": "stranger",
    "ssh-unreachable": "reconnecting",
    "iap-unreachable": "reconnecting",
    "iap-backend-unreachable": "reconnecting",
    "not-answering": "reconnecting",
    "deadline-passed": "reconnecting",
    "machine-booting": "reconnecting",
    "another-machine": "reconnecting",
}
Outcome = Health | RemoteRuntimeError | ControlRequest | None


class Reconnector:
    """One repair. ``make_context()`` returns the present context of ``bring_up.ensure``. To be closed."""

    def __init__(
        self,
        resources: Resources,
        requests: RequestQueue,
        record: RuntimeRecord,
        make_context: Callable[[], BringUpContext],
    ) -> None:
        self._resources = resources
        self._requests = requests
        self._record = record
        self._make_context = make_context
        self._lookup = BackgroundLookup()
        address = resources.instance.address if resources.instance else ""
        self._network_changes = NetworkChangeDetector(address)
        self._network_changed = False
        self._attempts = self._quick_retries = 0
        self._retry_at: float | None = None
        self._no_machine_error: RemoteRuntimeError | None = None
        self._user_needed_error: RemoteRuntimeError | None = None
        self._idle_stop: RemoteRuntimeError | None = None

    def run(self) -> Outcome:
        """Retries until one of these; after a request that did not end the repair, ``run`` continues it.

        - ``Health``: the runtime is ready again.
        - ``ControlRequest``: an `up` or a `down` for the caller to handle.
        - ``RemoteRuntimeError``: the profile's ``idle`` has stopped the machine; it is to stay so.
        - None: the process was terminated.
        """
        if self._user_needed_error is not None:
            record_failure(self._record, self._user_needed_error)  # whatever the `up` in between failed with
        while not self._requests.terminated:
            if self._retry_at is None:
                health = self._attempt()
                if health is not None or self._idle_stop is not None:
                    return health or self._idle_stop
                self._schedule_retry()
            request = self._wait_for_retry()
            if request is not None or self._idle_stop is not None:
                return request or self._idle_stop
            self._retry_at = None
            if self._network_changed:
                self._attempts, self._network_changed = 0, False
        return None

    def close(self) -> None:
        self._lookup.close()

    def _attempt(self) -> Health | None:
        self._attempts += 1
        connections = self._resources.connect_count
        health = self._try_once(self._attempts)
        if self._resources.connect_count > connections and self._quick_retries < MAX_QUICK_RETRIES:
            self._attempts, self._quick_retries = 1, self._quick_retries + 1
        return health

    def _try_once(self, attempt: int) -> Health | None:
        context = replace(self._make_context(), single_attempt=True)
        try:
            if self._no_machine_error is not None:
                raise self._no_machine_error
            with self._cancelled_on_change() as cancelled:
                deadline = Deadline(context.profile.timeouts.total_s, cancelled)
                return ensure(context, self._resources, start=False, deadline=deadline)
        except Interrupted as error:
            log.info("attempt %d: %s", attempt, error)
        except RemoteRuntimeError as error:
            log.info("attempt %d: %s: %s", attempt, error.code, error)
            self._record_failure(error)
            self._user_needed_error = error if error.code in NEEDS_USER else None
            due = not self._resources.is_connected() and (attempt in (1, 2, 4, 8) or attempt % 10 == 0)
            if due or self._no_machine_error is not None:
                find = partial(find_for_reconnect, context.target, self._resources.instance, error, self._on_restart)
                self._lookup.start(find, context.profile.timeouts.instance_s)
        except Exception as error:
            log.exception("internal error in an attempt to reconnect; the next one may succeed")
            self._record.update(state="unreachable", why=describe_bug(error))
        return None

    @contextlib.contextmanager
    def _cancelled_on_change(self) -> Iterator[threading.Event]:
        """Set when a request interrupts the attempt, or when connecting became pointless: this computer's network or
        the machine's address has changed."""
        cancelled, done = threading.Event(), threading.Event()

        def watch() -> None:
            polled_at = time.monotonic()
            while not done.wait(CANCEL_POLL_S):
                if time.monotonic() - polled_at >= TICK_S:
                    polled_at = time.monotonic()
                    self._network_changed = self._network_changed or bool(self._network_changes.poll())
                is_pointless = self._network_changed or is_outdated(self._resources.instance, self._lookup.result)
                if self._requests.cancelled.is_set() or (is_pointless and not self._resources.is_connected()):
                    cancelled.set()
                    return

        self._network_changes.reset()
        watcher = threading.Thread(target=watch, daemon=True, name="reconnect-watch")
        watcher.start()
        try:
            yield cancelled
        finally:
            done.set()
            watcher.join()

    def _schedule_retry(self) -> None:
        pause_s = backoff_s(self._attempts)
        if self._no_machine_error is not None:
            pause_s = min(pause_s, NO_MACHINE_RETRY_S)
        self._retry_at = time.monotonic() + pause_s
        if self._user_needed_error is not None:
            log.info("waiting for an `up`: %s", self._user_needed_error)
        self._network_changes.reset()

    def _wait_for_retry(self) -> ControlRequest | None:
        """Returns None when the next attempt is due, or the repair is over. While a user is needed no attempt is due:
        only a request, or the end of the process, ends the wait then."""
        while True:
            self._apply_lookup_result()
            needs_user = self._user_needed_error is not None
            if self._idle_stop is not None or (self._network_changed and not needs_user):
                return None
            left_s = (self._retry_at or 0.0) - time.monotonic()
            request = self._requests.next(TICK_S if needs_user else max(0.0, min(TICK_S, left_s)))
            if request is not None and request.op != "check":
                return request
            if self._requests.terminated:
                return None
            if needs_user:
                continue
            change = self._network_changes.poll()
            if change:
                log.info("%s: retrying at once", change)
                self._network_changed = True
            elif time.monotonic() >= (self._retry_at or 0.0):
                return None

    def _apply_lookup_result(self) -> None:
        result = self._lookup.take_result()
        if isinstance(result, RemoteRuntimeError):
            self._no_machine_error = result if result.code in NO_INSTANCE_CODES else None
            self._record_failure(result)
        elif isinstance(result, Instance):
            was_gone, self._no_machine_error = self._no_machine_error is not None, None
            previous = self._resources.instance
            is_same = previous is not None and has_same_address(result, previous) and not was_gone
            if self._resources.is_connected() or is_same:
                return
            started_from = previous.started_from if previous is not None and previous.id == result.id else None
            instance = result.with_route_of(previous) if previous is not None else result
            self._resources.instance = replace(instance, started_from=started_from)
            self._record.update(instance=self._resources.instance)
            self._network_changed = True

    def _record_failure(self, error: RemoteRuntimeError) -> None:
        if error.code in STOPPED_WHEN_IDLE and self._make_context().profile.idle.after_s is not None:
            self._idle_stop = error
        else:
            record_failure(self._record, error)

    def _on_restart(self, instance: Instance) -> None:
        """Called by the look-up's thread when it restarts a preempted Spot VM."""
        log.warning("%s was preempted; starting it again", instance.name)
        self._record.update(instance=instance, why=f"{instance.name} was preempted; starting it again")


def record_failure(record: RuntimeRecord, error: RemoteRuntimeError) -> None:
    """Save why the runtime is not ready, unless ``error`` is an interruption."""
    log.warning("%s: %s", error.code, error)
    if isinstance(error, Interrupted):
        return
    verdict = VERDICTS.get(error.code, "unreachable")
    record.update(state=verdict, why=str(error), last_error=error.as_dict())


def backoff_s(attempt: int) -> float:
    """How long to wait after a failed attempt: doubling up to ``MAX_BACKOFF_S``, with jitter."""
    return min(MAX_BACKOFF_S, 2.0 ** min(attempt - 1, 5)) * random.uniform(0.5, 1.0)  # noqa: S311  # not a secret
