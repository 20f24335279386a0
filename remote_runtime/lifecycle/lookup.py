"""Where the machine is now, asked beside the tries to enter it: a look-up costs seconds, and fails offline."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from ..core.model import Instance, Profile
from ..targets.gce import Machines
from .last_known import LookUp

log = logging.getLogger(__name__)
# These make another try vain.
NO_MACHINE = ("instance-stopped", "instance-not-found", "instance-not-startable", "quota-exceeded")
News = Instance | Exception


class Inquiry:
    """One look-up at a time. ``revived`` is told of a preempted Spot VM that it starts again."""

    def __init__(self, revived: Callable[[Instance], None]) -> None:
        self._revived = revived
        self._look_up: LookUp | None = None

    def begin(self, machines: Machines, profile: Profile, known: Instance | None, error: RemoteRuntimeError) -> None:
        """``error``: why the machine ``known`` could not be entered."""
        if self._look_up is None:
            within_s = profile.timeouts.instance_s
            self._look_up = LookUp(lambda deadline: self._find(machines, profile, known, error, deadline), within_s)

    def news(self) -> News | None:
        """Told once: the instance, or an error: one of ``NO_MACHINE``, or why it cannot be entered."""
        if self._look_up is None or self._look_up.answer is None:
            return None
        answer, self._look_up = self._look_up.answer, None
        return answer

    def tells_otherwise(self, known: Instance | None) -> bool:
        """Whether the news are that ``known`` cannot be entered where it was."""
        answer = self._look_up.answer if self._look_up is not None else None
        if isinstance(answer, Instance):
            return known is None or not is_the_same(answer, known)
        return isinstance(answer, RemoteRuntimeError) and answer.code in NO_MACHINE

    def end(self) -> None:
        look_up, self._look_up = self._look_up, None
        if look_up is not None:
            look_up.close()

    def _find(
        self,
        machines: Machines,
        profile: Profile,
        known: Instance | None,
        error: RemoteRuntimeError,
        deadline: Deadline,
    ) -> Instance:
        try:
            found = machines.find(
                profile,
                start=False,
                tell=_quiet,
                deadline=deadline,
                started=self._revived,
                in_background=True,
                revive=True,
            )
        except RemoteRuntimeError as failure:
            if known is None or failure.code in NO_MACHINE:
                raise
            log.info("the look-up failed: %s: %s", failure.code, failure)
            return known
        if known is None or not is_the_same(found, known):
            return found
        explained = machines.explain(profile, found, error, tell=_quiet, deadline=deadline)
        if explained is not error:
            raise explained
        return found


def is_the_same(one: Instance, other: Instance) -> bool:
    """To be entered in the same way."""
    return (one.address, one.port, one.id, one.host_keys) == (other.address, other.port, other.id, other.host_keys)


def _quiet(text: str) -> None:
    """The tries are told, the look-up beside them is not."""
