"""What a runtime went through while it did not stand, for `status`."""

from __future__ import annotations

import logging
import time

from ..lifecycle.bring_up import Resources
from .runtime_record import RuntimeRecord, now

log = logging.getLogger(__name__)


class Outage:
    """Begins when it is made. Lasts by the wall clock: a computer's sleep counts."""

    def __init__(self, resources: Resources, why: str) -> None:
        self._resources = resources
        self._link_before = _link_of(resources)
        self._why = why
        self._began_at = now()
        self._began_s = time.time()

    def finish(self, record: RuntimeRecord) -> None:
        """It stands again: by a new connection or a new server, which is counted, or by itself."""
        lasted_s = round(max(0.0, time.time() - self._began_s), 1)
        is_new_link = self._link_before != _link_of(self._resources)
        reconnects = record.runtime.reconnects + is_new_link
        restarted, self._resources.restart_reason = self._resources.restart_reason, ""
        outage: dict[str, str | float] = {"why": self._why, "at": self._began_at, "lasted_s": lasted_s}
        record.update(reconnects=reconnects, last_outage={**outage, **({"restarted": restarted} if restarted else {})})
        if restarted:
            log.warning("%s", restarted)
        log.info("it stands again after %s s (%s)", lasted_s, self._why)


def _link_of(resources: Resources) -> tuple[int, int]:
    return id(resources.session), resources.server.pid if resources.server else 0
