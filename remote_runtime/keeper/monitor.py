"""What a keeper looks at while its runtime stands."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..core.deadline import Deadline
from ..core.errors import HealthError, Interrupted, RemoteRuntimeError
from ..core.frozen import dataclass
from ..core.model import Health, Verdict
from ..jupyter import health
from ..lifecycle.bring_up import Held

log = logging.getLogger(__name__)
LEAST_GLANCE_S, MOST_GLANCE_S = 2.0, 10.0


@dataclass(frozen=True)
class Watch:
    """Nothing here changes a thing, but that a port is bound on [::1] as soon as this computer has it."""

    held: Held
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
        if self.held.complete():
            return "reconnecting", self.held.exposed
        return None

    def reaches_jupyter(self) -> bool:
        """Whether somebody listens where Jupyter did, however long an answer takes; not for the link's sake."""
        session, server = self.held.session, self.held.server
        if session is None or session.closed or server is None:
            return True
        try:
            session.dial(*server.at, within_s=LEAST_GLANCE_S).close()
        except HealthError:
            return False
        except RemoteRuntimeError as error:
            log.info("it is not known whether Jupyter listens: %s", error)
        return True

    def wants_a_look(self) -> bool:
        """Whether a connection has just failed to reach Jupyter."""
        front = self.held.front
        if front is None or front.failure is None:
            return False
        front.failure = None
        return True

    def look(self, within_s: float) -> Health | None:
        """The whole path now; None when the look was called off."""
        within_s = min(MOST_GLANCE_S, max(LEAST_GLANCE_S, within_s))
        try:
            return health.glance(self.door(), Deadline(within_s, self.called_off))
        except Interrupted:
            return None
