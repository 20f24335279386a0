"""Looks up in the background where the machine is now: a look-up takes seconds, and fails while offline."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..core.access import InstalledKey
from ..core.deadline import Deadline, wait_until
from ..core.errors import DeadlinePassed, RemoteRuntimeError
from ..core.model import Instance
from ..targets import KeyPolicy, Target

log = logging.getLogger(__name__)
JOIN_TIMEOUT_S = 3.0
POLL_INTERVAL_S = 0.02
# Importing Google's client takes a whole processor: it is left to the connection for so long.
DELAY_S = 1.0
# While one of these holds, connecting is pointless.
NO_INSTANCE_CODES = ("instance-stopped", "instance-not-found", "instance-not-startable", "quota-exceeded")


class BackgroundLookup:
    """Calls ``find`` in a thread of its own, as soon as ``wait`` is called or ``delay_s`` later. ``result``: None while
    there is none."""

    def __init__(self, find: Callable[[Deadline], Instance], timeout_s: float) -> None:
        self.result: Instance | Exception | None = None
        self._deadline = Deadline(timeout_s)
        self._start_now = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(find,), name="look-up", daemon=True)
        self._thread.start()

    def wait(self, deadline: Deadline) -> Instance:
        """Raises what ``find`` raised, ``DeadlinePassed``, ``Interrupted``."""
        self._start_now.set()
        wait_until(lambda: self.result is not None, deadline, every_s=POLL_INTERVAL_S, what="finding the machine")
        if isinstance(self.result, Instance):
            return self.result
        raise self.result or DeadlinePassed("Finding the machine took too long")

    def close(self) -> None:
        self._deadline.cancelled.set()
        self._start_now.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def _run(self, find: Callable[[Deadline], Instance]) -> None:
        self._start_now.wait(DELAY_S)
        try:
            self.result = find(self._deadline)
        except Exception as error:
            self.result = error
            if not isinstance(error, RemoteRuntimeError):
                log.exception("a bug of ours in the look-up of a machine")


def start_lookup(
    target: Target,
    last_instance: Instance,
    key_policy: KeyPolicy | None,
    installed_keys: tuple[InstalledKey, ...],
) -> BackgroundLookup:
    """Look up the instance's current address in the background. If ``key_policy`` allows it, renew its key there too.
    ``installed_keys``: keys that we installed before."""

    def find(deadline: Deadline) -> Instance:
        instance = _find(target, deadline, on_start=lambda instance: None)
        if instance.id != last_instance.id or key_policy is None:
            return instance
        try:
            return target.renew_key(
                instance,
                progress=_log_progress,
                deadline=deadline,
                installed_keys=installed_keys,
                key_policy=key_policy,
            )
        except RemoteRuntimeError as error:
            log.info("the key on %s is not renewed: %s: %s", instance.name, error.code, error)
            return instance

    return BackgroundLookup(find, target.profile.timeouts.instance_s)


class ReconnectLookup:
    """The look-ups beside the attempts to reconnect, one at a time. ``on_restart`` is called when one restarts a
    preempted Spot VM, in its thread."""

    def __init__(self, on_restart: Callable[[Instance], None]) -> None:
        self._on_restart = on_restart
        self._lookup: BackgroundLookup | None = None

    def start(self, target: Target, last_instance: Instance | None, error: RemoteRuntimeError) -> None:
        """``error``: why connecting to ``last_instance`` failed."""
        if self._lookup is None:
            self._lookup = BackgroundLookup(
                lambda deadline: self._find(target, last_instance, error, deadline),
                target.profile.timeouts.instance_s,
            )

    def take_result(self) -> Instance | Exception | None:
        """Returns each result once: the instance, or an error: one of ``NO_INSTANCE_CODES``, or the cause of the
        failure."""
        if self._lookup is None or self._lookup.result is None:
            return None
        result, self._lookup = self._lookup.result, None
        return result

    def result_differs(self, last_instance: Instance | None) -> bool:
        """Whether the result, if there is one, makes connecting to ``last_instance`` pointless."""
        result = self._lookup.result if self._lookup is not None else None
        if isinstance(result, Instance):
            return last_instance is None or not has_same_address(result, last_instance)
        return isinstance(result, RemoteRuntimeError) and result.code in NO_INSTANCE_CODES

    def close(self) -> None:
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.close()

    def _find(
        self, target: Target, last_instance: Instance | None, error: RemoteRuntimeError, deadline: Deadline
    ) -> Instance:
        try:
            instance = _find(target, deadline, on_start=self._on_restart, restart_preempted=True)
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


def has_same_address(one: Instance, other: Instance) -> bool:
    """Whether a connection to ``one`` reaches what one to ``other`` does."""
    return (one.address, one.port, one.id, one.host_keys) == (other.address, other.port, other.id, other.host_keys)


def _find(
    target: Target, deadline: Deadline, *, on_start: Callable[[Instance], None], restart_preempted: bool = False
) -> Instance:
    return target.find(
        start=False,
        in_background=True,
        progress=_log_progress,
        deadline=deadline,
        on_start=on_start,
        restart_preempted=restart_preempted,
    )


def _log_progress(text: str) -> None:
    log.info("in the background: %s", text)
