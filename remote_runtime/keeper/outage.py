"""What a runtime went through while it did not stand, for `status`."""

from __future__ import annotations

import logging
import time

from ..lifecycle.bring_up import Held
from .runtime_record import Record, now

log = logging.getLogger(__name__)


class Outage:
    """Begins when it is made. Lasts by the wall clock: a computer's sleep counts."""

    def __init__(self, held: Held, why: str) -> None:
        self._held = held
        self._before = _kept_by(held)
        self._why = why
        self._at = now()
        self._began = time.time()

    def end(self, record: Record) -> None:
        """It stands again: by a new connection or a new server, which is counted, or by itself."""
        lasted_s = round(max(0.0, time.time() - self._began), 1)
        anew = self._before != _kept_by(self._held)
        reconnects = record.runtime.reconnects + anew
        restarted, self._held.restarted = self._held.restarted, ""
        told: dict[str, str | float] = {"why": self._why, "at": self._at, "lasted_s": lasted_s}
        record.update(reconnects=reconnects, last_outage={**told, **({"restarted": restarted} if restarted else {})})
        if restarted:
            log.warning("%s", restarted)
        log.info("it stands again after %s s (%s)", lasted_s, self._why)


def _kept_by(held: Held) -> tuple[int, int]:
    return id(held.session), held.server.pid if held.server else 0
