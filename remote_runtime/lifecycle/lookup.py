"""Looks up in the background where the machine is now: a look-up takes seconds, and fails while offline."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..core.deadline import Deadline, wait_until
from ..core.errors import RemoteRuntimeError
from ..core.model import Instance
from ..targets import FindOptions, KeyPolicy, LoginOptions, Target
from .context import BringUpContext

log = logging.getLogger(__name__)
JOIN_TIMEOUT_S = 3.0
POLL_INTERVAL_S = 0.02
# Importing Google's client takes a whole processor: it is left to the connection for so long.
DELAY_S = 1.0
# With one of these errors, connecting is pointless.
NO_INSTANCE_CODES = (
    "instance-stopped",
    "instance-not-found",
    "instance-not-startable",
    "no-capacity",
    "quota-exceeded",
)


class BackgroundLookup:
    """At most one look-up at a time, in a thread of its own, which calls ``on_result`` at its end."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._results: list[Instance | Exception] = []
        self._deadline = Deadline(0.0)
        self._start_now = threading.Event()
        self.on_result: Callable[[], None] = lambda: None

    @property
    def result(self) -> Instance | Exception | None:
        """None while there is none."""
        return self._results[0] if self._results else None

    def start(self, find: Callable[[Deadline], Instance], timeout_s: float) -> None:
        """Call ``find`` as soon as ``wait`` is called, or a second later; not while a look-up runs already."""
        if self._thread is not None:
            return
        self._deadline, self._start_now, self._results = Deadline(timeout_s), threading.Event(), []
        arguments = (find, self._deadline, self._start_now, self._results, self.on_result)
        self._thread = threading.Thread(target=_run, args=arguments, name="look-up", daemon=True)
        self._thread.start()

    def wait(self, deadline: Deadline) -> Instance | None:
        """None if no look-up runs. Raises what ``find`` raised, ``DeadlinePassed``, ``Interrupted``."""
        if self._thread is None:
            return None
        self._start_now.set()
        wait_until(lambda: self.result is not None, deadline, every_s=POLL_INTERVAL_S, what="finding the machine")
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def take_result(self) -> Instance | Exception | None:
        """Returns each result once."""
        result = self.result
        if result is not None:
            self._thread, self._results = None, []
        return result

    def close(self) -> None:
        if self._thread is not None:
            self._deadline.cancelled.set()
            self._start_now.set()
            self._thread.join(JOIN_TIMEOUT_S)
        self._thread, self._results = None, []


def find_and_renew_key(context: BringUpContext, last_instance: Instance, deadline: Deadline) -> Instance:
    """The instance that the profile means now, beside a connection to the last address of ``last_instance``. If they
    are the same, renew the key there too."""
    instance = context.target.find(FindOptions(_log_progress, deadline, in_background=True))
    if instance.id != last_instance.id or not context.may_install_key:
        return instance
    key_policy = KeyPolicy.saved_by(lambda keys: context.record(keys=keys))
    options = LoginOptions(_log_progress, deadline, installed_keys=context.keys, key_policy=key_policy)
    try:
        return context.target.renew_key(instance, options)
    except RemoteRuntimeError as error:
        log.info("the key on %s is not renewed: %s: %s", instance.name, error.code, error)
        return instance


def find_for_reconnect(
    target: Target,
    last_instance: Instance | None,
    error: RemoteRuntimeError,
    on_restart: Callable[[Instance], None],
    deadline: Deadline,
) -> Instance:
    """The instance by now, after connecting to ``last_instance`` failed with ``error``. A preempted Spot VM is started
    again: ``on_restart`` is called then. Raises one of ``NO_INSTANCE_CODES``, or the cause of the failure if it is
    known."""
    options = FindOptions(_log_progress, deadline, restart_preempted=True, on_start=on_restart, in_background=True)
    try:
        instance = target.find(options)
    except RemoteRuntimeError as failure:
        if last_instance is None or failure.code in NO_INSTANCE_CODES:
            raise
        log.info("the look-up failed: %s: %s", failure.code, failure)
        return last_instance
    if last_instance is None or not has_same_address(instance, last_instance):
        return instance
    explained = target.explain(instance, error, progress=_log_progress, deadline=deadline)
    if explained is not error:
        raise explained
    return instance


def is_outdated(last_instance: Instance | None, result: Instance | Exception | None) -> bool:
    """Whether the result of a look-up makes connecting to ``last_instance`` pointless."""
    if isinstance(result, Instance):
        return last_instance is None or not has_same_address(result, last_instance)
    return isinstance(result, RemoteRuntimeError) and result.code in NO_INSTANCE_CODES


def has_same_address(one: Instance, other: Instance) -> bool:
    """Whether a connection to ``one`` reaches what one to ``other`` does."""
    return (one.address, one.port, one.id, one.host_keys) == (other.address, other.port, other.id, other.host_keys)


def _run(
    find: Callable[[Deadline], Instance],
    deadline: Deadline,
    start_now: threading.Event,
    results: list[Instance | Exception],
    on_result: Callable[[], None],
) -> None:
    start_now.wait(DELAY_S)
    try:
        results.append(find(deadline))
    except Exception as error:
        results.append(error)
        if not isinstance(error, RemoteRuntimeError):
            log.exception("internal error while finding a machine")
    on_result()


def _log_progress(text: str) -> None:
    log.info("in the background: %s", text)
