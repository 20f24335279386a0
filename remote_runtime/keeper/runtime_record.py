"""The keeper's one copy of its runtime, saved at each change."""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.model import Runtime
from ..core.profile import Profile
from ..state import store

log = logging.getLogger(__name__)
# What these say must be on the disk before `up` does more: without them a machine that costs money may be forgotten.
MUST_BE_SAVED = ("instance", "server", "unfinished", "keys")


class RuntimeRecord:
    def __init__(self, state: store.StateDir, runtime: Runtime) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._deleted = False
        self._saved: Runtime | None = None
        self.runtime = runtime

    def update(self, **changes: Any) -> None:
        """Change fields of the runtime, here and on the disk; what the disk does not take goes with the next change."""
        with self._lock:
            self._save(changes)

    def save_or_fail(self, **changes: Any) -> None:
        """As ``update``. Raises ``LocalError`` ``state-dir-unusable`` when the disk does not take one of ``FACTS``."""
        with self._lock:
            error = self._save(changes)
            if error is not None and any(self._is_unsaved(name) for name in MUST_BE_SAVED if name in changes):
                raise store.not_writable_error(self._state, error) from error

    def save_last_run(self, local_port: int | None, failure: Mapping[str, str] | None = None) -> None:
        """What outlives the runtime."""
        with self._lock:
            runtime = self.runtime
            last_run = store.LastRun(
                runtime.client_id, local_port, failure, runtime.keys, runtime.profile_path, runtime.folder
            )
            store.save_last_run(self._state, runtime.name, last_run)

    def delete(self) -> OSError | None:
        """Nothing is left: the file goes, and stays away. Returns why it does not go, if so."""
        with self._lock:
            self._deleted = True
            try:
                store.remove_files(self._state, self.runtime.name)
            except OSError as error:
                log.warning("the state file cannot be removed: %s", error)
                return error
            return None

    def _save(self, changes: dict[str, Any]) -> OSError | None:
        """Returns why the disk does not take it, if so."""
        self.runtime = replace(self.runtime, **changes)
        if self._deleted:
            return None
        try:
            store.save(self._state, self.runtime)
        except OSError as error:
            log.warning("the state cannot be saved: %s", error)
            return error
        self._saved = self.runtime
        return None

    def _is_unsaved(self, name: str) -> bool:
        return self._saved is None or getattr(self._saved, name) != getattr(self.runtime, name)


def target_fields(profile: Profile) -> dict[str, str]:
    """The target as the state file and the JSON output have it: its words, without what is not set."""
    return {key: value for key, value in vars(profile.target).items() if value and isinstance(value, str)}


def profile_yaml(profile: Profile) -> str:
    """The profile as the state file has it."""
    from .. import profiles  # the text of the first came with the errand

    return profiles.to_yaml(profile)


def now() -> str:
    """ISO 8601, UTC, seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
