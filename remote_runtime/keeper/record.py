"""The keeper's one copy of its runtime, saved at each change."""

from __future__ import annotations

import datetime
import threading
from dataclasses import replace
from typing import Any

from .. import runtimes
from ..model import Runtime


class Record:
    def __init__(self, state: runtimes.StateDir, runtime: Runtime) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._forgotten = False
        self.runtime = runtime

    def update(self, **changes: Any) -> None:
        """Change fields of the runtime, here and on the disk."""
        with self._lock:
            self.runtime = replace(self.runtime, **changes)
            if not self._forgotten:
                runtimes.save(self._state, self.runtime)

    def forget(self) -> None:
        """Nothing is left: the file goes, and stays away."""
        with self._lock:
            self._forgotten = True
            runtimes.forget(self._state, self.runtime.name)


def now() -> str:
    """ISO 8601, UTC, seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
