"""The keeper's ``Runtime``, saved at each change."""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..core.model import Instance, Runtime
from ..core.profile import Profile
from ..state import store

log = logging.getLogger(__name__)
# These must be on the disk before `up` continues: without them a machine that costs money may be forgotten.
MUST_BE_SAVED = ("instance", "server", "unfinished", "keys", "resources", "cluster")


class RuntimeRecord:
    """``on_instance`` is called with the instance after each change that has one."""

    def __init__(self, state: store.StateDir, runtime: Runtime) -> None:
        self.on_instance: Callable[[Instance], None] = lambda instance: None
        self._state = state
        self._lock = threading.Lock()
        self._deleted = False
        self._saved: Runtime | None = None
        self.runtime = runtime

    def update(self, **changes: Any) -> None:
        """Changes fields of the runtime and saves it. What cannot be saved is saved with the next change."""
        with self._lock:
            self._save(changes)
        self._report_instance(changes)

    def save_or_fail(self, **changes: Any) -> None:
        """As ``update``. Raises ``LocalError`` ``state-dir-unusable`` if a change of ``MUST_BE_SAVED`` is not saved."""
        with self._lock:
            error = self._save(changes)
            if error is not None and any(self._is_unsaved(name) for name in MUST_BE_SAVED if name in changes):
                raise store.not_writable_error(self._state, error) from error
        self._report_instance(changes)

    def save_last_run(self, local_port: int | None, failure: Mapping[str, str] | None = None) -> None:
        """Saves what the next run of this name needs."""
        with self._lock:
            runtime = self.runtime
            last_run = store.LastRun(
                runtime.client_id, local_port, failure, runtime.keys, runtime.profile_path, runtime.folder
            )
            store.save_last_run(self._state, runtime.name, last_run)

    def delete(self) -> OSError | None:
        """Deletes the state file for good. Returns the error if that fails."""
        with self._lock:
            self._deleted = True
            try:
                store.remove_files(self._state, self.runtime.name)
            except OSError as error:
                log.warning("can't remove the state file: %s", error)
                return error
            return None

    def _report_instance(self, changes: Mapping[str, Any]) -> None:
        if (instance := changes.get("instance")) is not None:
            self.on_instance(instance)

    def _save(self, changes: dict[str, Any]) -> OSError | None:
        """Returns the error if it cannot be saved."""
        self.runtime = replace(self.runtime, **changes)
        if self._deleted:
            return None
        try:
            store.save(self._state, self.runtime)
        except OSError as error:
            log.warning("can't save the state: %s", error)
            return error
        self._saved = self.runtime
        return None

    def _is_unsaved(self, name: str) -> bool:
        return self._saved is None or getattr(self._saved, name) != getattr(self.runtime, name)


def profile_yaml(profile: Profile) -> str:
    """The profile as YAML, for the state file."""
    from .. import profiles  # imports yaml; the launch request brings the text of the first profile

    return profiles.to_yaml(profile)


def now() -> str:
    """ISO 8601, UTC, seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
