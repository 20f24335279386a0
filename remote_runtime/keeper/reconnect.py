"""Makes a runtime stand again: tries without end, at first at once, then ever more rarely."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, replace

from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, describe_bug
from ..core.model import Health, Instance, Verdict
from ..lifecycle import bring_up
from ..lifecycle.lookup import NO_INSTANCE_CODES, InstanceLookup, has_same_address
from ..tunnel.network_change import TICK_S, NetworkChangeDetector
from .requests import ControlRequest, RequestQueue
from .runtime_record import RuntimeRecord

log = logging.getLogger(__name__)
MAX_BACKOFF_S = 30.0
MAX_QUICK_RETRIES = (
    10  # connections that were lost before the check was over: the server lets us in, so it is tried soon
)
NO_MACHINE_RETRY_S = 10.0
# A try without a person is a question to nobody, and to the machine a failed login that may ring a phone.
NEEDS_USER = ("two-factor-needed", "passphrase-needed")
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


@dataclass
class Reconnector:
    """``story``: as it is to be told now. ``obey``: carries an order out, and answers whether the repair is over.
    ``is_final``: whether nothing is to be mended after this failure. ``revived``: see ``Inquiry``."""

    resources: bring_up.Resources
    requests: RequestQueue
    record: RuntimeRecord
    context: Callable[[], bring_up.BringUpContext]
    handle_request: Callable[[ControlRequest], bool]
    is_final: Callable[[RemoteRuntimeError], bool]
    on_restart: InitVar[Callable[[Instance], None]]
    _no_machine_error: RemoteRuntimeError | None = None
    _network_changed: bool = False
    _user_needed_error: RemoteRuntimeError | None = None

    def __post_init__(self, on_restart: Callable[[Instance], None]) -> None:
        self._lookup = InstanceLookup(on_restart)
        self._finished = False

    def run(self) -> Health | None:
        """The health when it stands again; None when an order ended the repair, or the keeper is to end."""
        self._network_changes = NetworkChangeDetector(
            self.resources.instance.address if self.resources.instance else ""
        )
        attempt = quick_retries = 0
        try:
            while not self.requests.terminated:
                attempt += 1
                connections = self.resources.connect_count
                health = self._attempt(attempt)
                if self.resources.connect_count > connections and quick_retries < MAX_QUICK_RETRIES:
                    attempt, quick_retries = 1, quick_retries + 1
                if health is not None or self._finished or self._wait_for_retry(attempt):
                    return health
                if self._network_changed:
                    attempt, self._network_changed = 0, False
            return None
        finally:
            self._lookup.close()

    def _attempt(self, attempt: int) -> Health | None:
        context = replace(self.context(), single_attempt=True)
        try:
            if self._no_machine_error is not None:
                self._lookup.start(context.machines, context.profile, self.resources.instance, self._no_machine_error)
                raise self._no_machine_error
            with self._cancelled_on_change() as cancelled:
                deadline = Deadline(context.profile.timeouts.total_s, cancelled)
                return bring_up.ensure(context, self.resources, start=False, deadline=deadline)
        except Interrupted as error:
            log.info("attempt %d: %s", attempt, error)
        except RemoteRuntimeError as error:
            log.info("attempt %d: %s: %s", attempt, error.code, error)
            self._record_failure(error)
            self._user_needed_error = error if error.code in NEEDS_USER else None
            if not self.resources.is_connected() and (attempt in (1, 2, 4, 8) or attempt % 10 == 0):
                self._lookup.start(context.machines, context.profile, self.resources.instance, error)
        except Exception as error:
            log.exception("a bug of ours in a repair; the next attempt may do without it")
            self.record.update(state="unreachable", why=describe_bug(error))
        return None

    @contextlib.contextmanager
    def _cancelled_on_change(self) -> Iterator[threading.Event]:
        """Set when an order comes, or when a try to enter has become vain: another network here, another address."""
        cancelled, over = threading.Event(), threading.Event()

        def watch() -> None:
            ticked_at = time.monotonic()
            while not over.wait(CANCEL_POLL_S):
                is_outdated = self._lookup.result_differs(self.resources.instance)
                if time.monotonic() - ticked_at >= TICK_S:
                    ticked_at = time.monotonic()
                    self._network_changed = self._network_changed or bool(self._network_changes.poll())
                if self.requests.cancelled.is_set() or (
                    (is_outdated or self._network_changed) and not self.resources.is_connected()
                ):
                    cancelled.set()
                    return

        self._network_changes.reset()
        watcher = threading.Thread(target=watch, daemon=True, name="repair-watch")
        watcher.start()
        try:
            yield cancelled
        finally:
            over.set()
            watcher.join()

    def _wait_for_retry(self, attempt: int) -> bool:
        """Until the next try is due; whether the repair is over. Only an order ends it where a person is needed."""
        until = time.monotonic() + backoff_s(attempt)
        if self._no_machine_error is not None:
            until = min(until, time.monotonic() + NO_MACHINE_RETRY_S)
        self._network_changes.reset()
        while True:
            self._take_lookup_result()
            if self._finished or (self._network_changed and self._user_needed_error is None):
                return self._finished
            left_s = until - time.monotonic()
            request = self.requests.next(
                TICK_S if self._user_needed_error is not None else max(0.0, min(TICK_S, left_s))
            )
            if request is not None and self.handle_request(request):
                return True
            if self._user_needed_error is not None:
                if self.requests.terminated:
                    return False
                if request is not None:
                    record_failure(
                        self.record, self._user_needed_error
                    )  # whatever an `up` failed with: it is still waited for a person
                continue
            change = self._network_changes.poll()
            if change:
                log.info("%s: trying again at once", change)
                self._network_changed = True
            elif left_s <= TICK_S or self.requests.terminated:
                return False

    def _take_lookup_result(self) -> None:
        result = self._lookup.take_result()
        if isinstance(result, RemoteRuntimeError):
            self._no_machine_error = result if result.code in NO_INSTANCE_CODES else None
            self._record_failure(result)
        elif isinstance(result, Instance):
            previous, was_gone, self._no_machine_error = (
                self.resources.instance,
                self._no_machine_error is not None,
                None,
            )
            if self.resources.is_connected() or (
                previous is not None and has_same_address(result, previous) and not was_gone
            ):
                return
            started_from = previous.started_from if previous is not None and previous.id == result.id else None
            instance = result.with_route_of(previous) if previous is not None else result
            self.resources.instance = replace(instance, started_from=started_from)
            self.record.update(instance=self.resources.instance)
            self._network_changed = True

    def _record_failure(self, error: RemoteRuntimeError) -> None:
        self._finished = self.is_final(error)
        if not self._finished:
            record_failure(self.record, error)


def record_failure(record: RuntimeRecord, error: RemoteRuntimeError) -> None:
    """Tell in the state file why it does not stand, unless something else came between."""
    log.warning("%s: %s", error.code, error)
    if isinstance(error, Interrupted):
        return
    verdict = VERDICTS.get(error.code, "unreachable")
    record.update(state=verdict, why=str(error), last_error=error.as_dict())


def backoff_s(attempt: int) -> float:
    """How long to wait after a failed attempt: doubling, with jitter, so that a server is not stormed."""
    return min(MAX_BACKOFF_S, 2.0 ** min(attempt - 1, 5)) * random.uniform(0.5, 1.0)  # noqa: S311  # not a secret
