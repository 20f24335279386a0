"""Where the machine is now, asked beside the tries to enter it: a look-up costs seconds, and fails offline."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from ..core.model import Instance
from ..targets import Target
from .last_known import BackgroundLookup

log = logging.getLogger(__name__)
# These make another try vain.
NO_INSTANCE_CODES = ("instance-stopped", "instance-not-found", "instance-not-startable", "quota-exceeded")
LookupResult = Instance | Exception


class InstanceLookup:
    """One look-up at a time. ``revived`` is told of a preempted Spot VM that it starts again."""

    def __init__(self, on_restart: Callable[[Instance], None]) -> None:
        self._on_restart = on_restart
        self._lookup: BackgroundLookup | None = None

    def start(self, target: Target, last_instance: Instance | None, error: RemoteRuntimeError) -> None:
        """``error``: why the machine ``known`` could not be entered."""
        if self._lookup is None:
            within_s = target.profile.timeouts.instance_s
            self._lookup = BackgroundLookup(
                lambda deadline: self._find(target, last_instance, error, deadline), within_s
            )

    def take_result(self) -> LookupResult | None:
        """Told once: the instance, or an error: one of ``NO_MACHINE``, or why it cannot be entered."""
        if self._lookup is None or self._lookup.result is None:
            return None
        result, self._lookup = self._lookup.result, None
        return result

    def result_differs(self, last_instance: Instance | None) -> bool:
        """Whether the news are that ``known`` cannot be entered where it was."""
        result = self._lookup.result if self._lookup is not None else None
        if isinstance(result, Instance):
            return last_instance is None or not has_same_address(result, last_instance)
        return isinstance(result, RemoteRuntimeError) and result.code in NO_INSTANCE_CODES

    def close(self) -> None:
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.close()

    def _find(
        self,
        target: Target,
        last_instance: Instance | None,
        error: RemoteRuntimeError,
        deadline: Deadline,
    ) -> Instance:
        try:
            instance = target.find(
                start=False,
                progress=_quiet,
                deadline=deadline,
                on_start=self._on_restart,
                in_background=True,
                restart_preempted=True,
            )
        except RemoteRuntimeError as failure:
            if last_instance is None or failure.code in NO_INSTANCE_CODES:
                raise
            log.info("the look-up failed: %s: %s", failure.code, failure)
            return last_instance
        if last_instance is None or not has_same_address(instance, last_instance):
            return instance
        explained = target.explain(instance, error, progress=_quiet, deadline=deadline)
        if explained is not error:
            raise explained
        return instance


def has_same_address(one: Instance, other: Instance) -> bool:
    """To be entered in the same way."""
    return (one.address, one.port, one.id, one.host_keys) == (other.address, other.port, other.id, other.host_keys)


def _quiet(text: str) -> None:
    """The tries are told, the look-up beside them is not."""
