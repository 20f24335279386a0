"""The machine's load, looked at only when somebody asks: a GPU's answer may take a second."""

from __future__ import annotations

import logging
import threading
import time

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from ..core.metrics import Load
from ..jupyter import health

log = logging.getLogger(__name__)
FRESH_S = 1.5
LOOK_S = 10.0
FIRST_S = 1.5
LATER_S = 0.3


class Sampler:
    """One look at a time, in a thread of its own; whoever asks waits a moment for it and takes what there is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._load: Load | None = None
        self._looked_at = 0.0
        self._looking: threading.Thread | None = None

    def load(self, door: health.Door) -> Load | None:
        """The latest that is known, None before anything is."""
        with self._lock:
            looking, known = self._looking, self._load
            if looking is None and time.monotonic() - self._looked_at > FRESH_S:
                self._looking = looking = threading.Thread(target=self._look, args=(door,), daemon=True, name="sampler")
                looking.start()
        if looking is not None:
            looking.join(FIRST_S if known is None else LATER_S)
        return self._load

    def _look(self, door: health.Door) -> None:
        try:
            self._load = health.load(door, Deadline(LOOK_S))
        except RemoteRuntimeError as error:
            log.info("the machine's load is not known: %s", error)
        finally:
            with self._lock:
                self._looking, self._looked_at = None, time.monotonic()
