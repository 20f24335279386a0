"""One worker of a cluster: finds its machine, starts Dask there, and does so again when the scheduler loses it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ..cluster import requests
from ..core.access import InstalledKey, LoginAccess, merge_keys
from ..core.callbacks import Prompt
from ..core.cluster import ClusterSettings, ClusterWorker, Credentials
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, describe_bug
from ..core.model import Instance
from ..targets import FindOptions, KeyPolicy, LoginOptions, Target
from .cluster_state import ClusterState

log = logging.getLogger(__name__)
FIRST_PAUSE_S, MAX_PAUSE_S = 5.0, 300.0
SETTLE_S = 4.0  # Dask itself starts a worker again whose process has ended
STABLE_S = 60.0  # after so long in the cluster, the next loss is answered at once
MAX_VM_STARTS, STARTS_WITHIN_S = 6, 3600.0
# These fail again until a person has changed something; `up` tries again.
PERMANENT = (
    "cluster-engine-missing", "cluster-version-mismatch", "python-missing", "host-key-changed", "host-key-unknown",
    "two-factor-needed", "passphrase-needed", "auth-failed",
)  # fmt: skip


@dataclass
class WorkerRunner:
    """``run`` is its thread's function. ``open_target``: the worker's machine."""

    worker: ClusterWorker
    key: str
    settings: ClusterSettings
    credentials: Credentials
    state: ClusterState
    open_target: Callable[[ClusterWorker], Target]
    prompt: Prompt
    _vm_starts: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_VM_STARTS), init=False)

    @property
    def name(self) -> str:
        return self.worker.name

    def run(self) -> None:
        pause_s, tried_at = 0.0, 0.0
        while (scheduler := self.state.wait_until_missing(self.name)) is not None:
            if time.monotonic() - tried_at > STABLE_S + pause_s:
                pause_s = 0.0
            if not self.state.pause(max(pause_s, SETTLE_S if self.state.worker(self.name).has_joined else 0.0)):
                return
            if not self.state.is_missing(self.name):
                continue
            tried_at = time.monotonic()
            pause_s = min(MAX_PAUSE_S, max(FIRST_PAUSE_S, 2 * pause_s))
            try:
                self._start(scheduler)
            except Interrupted:
                return
            except RemoteRuntimeError as error:
                log.warning("worker %s: %s: %s", self.name, error.code, error)
                why = f"{error}. {error.hint}" if error.hint else str(error)
                is_permanent = error.code in PERMANENT
                self._update(state="failed" if is_permanent else "lost", why=why, code=error.code)
                if is_permanent and not self.state.wait_for_retry():
                    return
            except Exception as error:
                log.exception("internal error in the worker %s", self.name)
                self._update(state="failed", why=describe_bug(error), code="bug")
                if not self.state.wait_for_retry():
                    return

    def _start(self, scheduler: requests.Scheduler) -> None:
        """Returns when the worker has joined."""
        target = self.open_target(self.state.worker(self.name))
        limits = target.profile.timeouts
        deadline = Deadline(limits.instance_s + limits.ssh_s + limits.jupyter_s, self.state.ended)
        self._update(state="starting", why="finding its machine", code="")
        instance = self._find(target, deadline)
        self._update(instance=instance, why=f"connecting to {instance.name}")
        options = LoginOptions(
            self._progress,
            deadline.within(limits.ssh_s),
            self.prompt,
            self.state.worker(self.name).keys,
            KeyPolicy(self._save_keys, lambda access, keys: self._save_access(access, keys), renew=True),
        )
        with closing(target.connect(instance, options)) as session:
            self._update(why="starting Dask")
            spec = requests.MachineSpec(self.key, target.profile.jupyter, self.credentials)
            requests.start_worker(
                session.run,
                spec,
                self.name,
                self.settings,
                scheduler,
                progress=self._progress,
                deadline=deadline.within(limits.jupyter_s),
            )
        self.state.joined_by_itself(self.name)

    def _find(self, target: Target, deadline: Deadline) -> Instance:
        now = time.monotonic()
        may_start = len(self._vm_starts) < MAX_VM_STARTS or now - self._vm_starts[0] > STARTS_WITHIN_S

        def on_start(instance: Instance) -> None:
            self._vm_starts.append(now)
            self._update(instance=instance, why=f"starting {instance.name}")

        within = deadline.within(target.profile.timeouts.instance_s)
        return target.find(
            FindOptions(self._progress, within, may_start, restart_preempted=may_start, on_start=on_start)
        )

    def _save_keys(self, keys: tuple[InstalledKey, ...]) -> None:
        self._update(keys=merge_keys(self.state.worker(self.name).keys, keys))

    def _save_access(self, access: LoginAccess, keys: tuple[InstalledKey, ...]) -> None:
        self._save_keys(keys)

    def _progress(self, text: str) -> None:
        log.info("worker %s: %s", self.name, text)

    def _update(self, **changes: Any) -> None:
        self.state.update_worker(self.name, **changes)
