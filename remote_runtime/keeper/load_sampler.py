"""The machine's load, looked at only when somebody asks: a GPU's answer may take a second."""

from __future__ import annotations

import logging
import threading
import time

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from ..core.metrics import MachineLoad
from ..jupyter import health

log = logging.getLogger(__name__)
MAX_AGE_S = 1.5
READ_TIMEOUT_S = 10.0
FIRST_WAIT_S = 1.5
LATER_WAIT_S = 0.3


class LoadSampler:
    """One look at a time, in a thread of its own; whoever asks waits a moment for it and takes what there is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._load: MachineLoad | None = None
        self._sampled_at = 0.0
        self._thread: threading.Thread | None = None

    def load(self, endpoint: health.Endpoint) -> MachineLoad | None:
        """The latest that is known, None before anything is."""
        with self._lock:
            thread, previous = self._thread, self._load
            if thread is None and time.monotonic() - self._sampled_at > MAX_AGE_S:
                self._thread = thread = threading.Thread(
                    target=self._sample, args=(endpoint,), daemon=True, name="sampler"
                )
                thread.start()
        if thread is not None:
            thread.join(FIRST_WAIT_S if previous is None else LATER_WAIT_S)
        return self._load

    def _sample(self, endpoint: health.Endpoint) -> None:
        try:
            self._load = health.read_load(endpoint, Deadline(READ_TIMEOUT_S))
        except RemoteRuntimeError as error:
            log.info("the machine's load is not known: %s", error)
        finally:
            with self._lock:
                self._thread, self._sampled_at = None, time.monotonic()
