"""The keeper's one copy of its runtime, saved at each change."""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.model import Profile, Runtime
from ..state import store

log = logging.getLogger(__name__)
# What these say must be on the disk before `up` does more: without them a machine that costs money may be forgotten.
FACTS = ("instance", "server", "unfinished", "keys")


class Record:
    def __init__(self, state: store.StateDir, runtime: Runtime) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._forgotten = False
        self._saved: Runtime | None = None
        self.runtime = runtime

    def update(self, **changes: Any) -> None:
        """Change fields of the runtime, here and on the disk; what the disk does not take goes with the next change."""
        with self._lock:
            self._change(changes)

    def insist(self, **changes: Any) -> None:
        """As ``update``. Raises ``LocalError`` ``state-dir-unusable`` when the disk does not take one of ``FACTS``."""
        with self._lock:
            error = self._change(changes)
            if error is not None and any(self._is_news(name) for name in FACTS if name in changes):
                raise store.unwritable(self._state, error) from error

    def remember(self, local_port: int | None, failure: Mapping[str, str] | None = None) -> None:
        """What outlives the runtime."""
        with self._lock:
            runtime = self.runtime
            kept = store.Remembered(
                runtime.client_id, local_port, failure, runtime.keys, runtime.profile_path, runtime.folder
            )
            store.remember(self._state, runtime.name, kept)

    def forget(self) -> OSError | None:
        """Nothing is left: the file goes, and stays away. Returns why it does not go, if so."""
        with self._lock:
            self._forgotten = True
            try:
                store.forget(self._state, self.runtime.name)
            except OSError as error:
                log.warning("the state file cannot be removed: %s", error)
                return error
            return None

    def _change(self, changes: dict[str, Any]) -> OSError | None:
        """Returns why the disk does not take it, if so."""
        self.runtime = replace(self.runtime, **changes)
        if self._forgotten:
            return None
        try:
            store.save(self._state, self.runtime)
        except OSError as error:
            log.warning("the state cannot be saved: %s", error)
            return error
        self._saved = self.runtime
        return None

    def _is_news(self, name: str) -> bool:
        return self._saved is None or getattr(self._saved, name) != getattr(self.runtime, name)


def target_of(profile: Profile) -> dict[str, str]:
    """The target as the state file and the JSON output have it: its words, without what is not set."""
    return {key: value for key, value in vars(profile.target).items() if value and isinstance(value, str)}


def text_of(profile: Profile) -> str:
    """The profile as the state file has it."""
    from .. import profiles  # the text of the first came with the errand

    return profiles.as_yaml(profile)


def now() -> str:
    """ISO 8601, UTC, seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
