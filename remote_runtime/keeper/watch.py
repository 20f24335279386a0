"""What a keeper looks at while its runtime stands, and while it tries to make it stand again."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .. import health
from ..bringup import Held
from ..errors import Interrupted, RemoteRuntimeError
from ..machines import Machines
from ..model import Health, Instance, Profile, Verdict
from ..protocols import Tell
from ..waits import Deadline

log = logging.getLogger(__name__)
GLANCE_S = 10.0
VAIN = ("instance-stopped", "instance-not-found", "instance-not-startable", "quota-exceeded", "interrupted")
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Watch:
    """Nothing here changes a thing but what is ``held`` of the machine's address."""

    held: Held
    machines: Machines
    called_off: threading.Event
    door: Callable[[], health.Door]

    def trouble(self) -> tuple[Verdict, str] | None:
        """Why the link cannot carry anything, None while it may."""
        session, way = self.held.session, self.held.way
        if session is None or session.closed:
            return "reconnecting", session.why_closed if session else "there is no connection"
        if way is None or way.closed:
            return "reconnecting", "the tunnel ended"
        if not self.held.listens():
            return "reconnecting", "nobody listens on the local port any more"
        return None

    def wants_a_look(self) -> bool:
        """Whether a connection has just failed to reach Jupyter."""
        front = self.held.front
        if front is None or front.failure is None:
            return False
        front.failure = None
        return True

    def look(self) -> Health | None:
        """The whole path now; None when the look was called off."""
        try:
            return health.glance(self.door(), Deadline(GLANCE_S, self.called_off))
        except Interrupted:
            return None

    def look_up(self, profile: Profile, attempt: int, tell: Tell, started: Callable[[Instance], None]) -> bool:
        """Ask where the machine is now: after the first failures, then rarely. Whether ``held.instance`` is news.

        A Spot VM that was preempted is started again if the profile lets `up` start it; one that a person stopped is
        not. Raises only what makes another try vain: the machine is stopped, gone, or cannot be started.
        """
        session = self.held.session
        if (session is not None and not session.closed) or not asks_the_cloud(attempt):
            return False
        try:
            self.held.instance = self.machines.find(
                profile,
                start=False,
                tell=tell,
                deadline=Deadline(profile.timeouts.instance_s, self.called_off),
                started=started,
                revive=True,
            )
        except RemoteRuntimeError as error:
            if error.code in VAIN:
                raise
            log.info("the look-up failed: %s: %s", error.code, error)
            return False
        return True


def asks_the_cloud(attempt: int) -> bool:
    """Whether the cloud is asked where the machine is, and why it cannot be entered, in this attempt of a repair."""
    return attempt in (2, 4, 8) or attempt % 10 == 0


def pause_s(attempt: int) -> float:
    """How long to wait after a failed attempt: doubling, with jitter, so that a server is not stormed."""
    return min(LONGEST_PAUSE_S, 2.0 ** min(attempt - 1, 5)) * random.uniform(0.5, 1.0)  # noqa: S311  # not a secret
