"""Ends the workers of a cluster, each with its machine as its ``on_down`` says."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from ..cluster import requests
from ..core.callbacks import Prompt
from ..core.cluster import ClusterWorker
from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError, describe_bug
from ..core.model import Runtime
from ..targets import LoginOptions, Target
from .context import ProgressSink
from .instance_end import OFF_STATUSES, Action, InstanceEnd, instance_action

log = logging.getLogger(__name__)
STOP_S, CONNECT_S = 30.0, 60.0
REPORT_S, POLL_S = 5.0, 0.05


class _Silent:
    """The progress of one of many workers."""

    def __call__(self, text: str) -> None: ...
    def step(self, text: str, done: str = "") -> None: ...
    def finish(self, done: str) -> None: ...
    def fail(self) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class ClusterEnd:
    """``begin``: called before anything ends; returns the runtime with its cluster. ``open_worker``: the machine of a
    worker."""

    begin: Callable[[], Runtime]
    open_worker: Callable[[ClusterWorker], Target]
    progress: ProgressSink
    prompt: Prompt
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def end_workers(self, action: Action | None, remains: dict[str, str], notes: list[str]) -> None:
        """Returns when all workers have ended, or could not be: ``remains`` gets which, and why, ``notes`` what stays.
        All at once: each takes a connection. ``action``: of `down`'s options, for all machines."""
        runtime = self.begin()
        cluster = runtime.cluster
        workers = [each for each in (cluster.workers if cluster else ()) if each.instance is not None]
        if not workers:
            return
        words = f"{len(workers)} worker{'s' * (len(workers) > 1)}"
        self.progress.step(f"Stopping {words}", f"Stopped {words}")
        threads = [
            threading.Thread(
                target=self._end_worker, args=(runtime, each, action, remains, notes), name=f"end-{each.name}"
            )
            for each in workers
        ]
        for thread in threads:
            thread.start()
        while running := [each.name.removeprefix("end-") for each in threads if each.is_alive()]:
            self.progress(f"Waiting for {', '.join(running)}")
            threads[0].join(REPORT_S) if threads[0].is_alive() else time.sleep(POLL_S)

    def _end_worker(
        self, runtime: Runtime, worker: ClusterWorker, action: Action | None, remains: dict[str, str], notes: list[str]
    ) -> None:
        def add(what: str, why: str) -> None:
            with self._lock:
                remains[what] = why

        try:
            self._end(runtime, worker, action, add, notes)
        except RemoteRuntimeError as error:
            add(f"the worker {worker.name} may still be running", str(error))
        except Exception as error:
            log.exception("internal error while stopping the worker %s", worker.name)
            add(f"the worker {worker.name} may still be running", describe_bug(error))

    def _end(
        self,
        runtime: Runtime,
        worker: ClusterWorker,
        action: Action | None,
        add: Callable[[str, str], None],
        notes: list[str],
    ) -> None:
        target, instance = self.open_worker(worker), worker.instance
        profile = target.profile
        as_runtime = Runtime(
            worker.name, worker.profile_path, {}, runtime.client_id, instance=instance, unfinished=not worker.has_joined
        )

        def attempt(remains: str, step: Callable[[], Any]) -> Any:
            try:
                return step()
            except RemoteRuntimeError as error:
                add(remains, str(error))
                return None

        asked = action if action in (None, *_possible(profile.target.kind)) else None
        wanted = instance_action(profile, asked, keep_server=False)
        machine = InstanceEnd(as_runtime, target, wanted, _Silent(), lambda question: False, attempt, notes)
        if instance is None or (instance.kind == "gce" and machine.status_now(instance) in OFF_STATUSES):
            return
        try:
            self._stop_process(runtime, worker, target)
            machine.machine_answers = True
        finally:
            machine.run()

    def _stop_process(self, runtime: Runtime, worker: ClusterWorker, target: Target) -> None:
        limit_s = max(CONNECT_S, target.profile.timeouts.ssh_s)
        options = LoginOptions(_Silent(), Deadline(limit_s), self.prompt, worker.keys)
        if worker.instance is None:
            return
        with closing(target.connect(replace(worker.instance, started_from=None), options)) as session:
            key = requests.worker_key(runtime.name, runtime.client_id, worker.name)
            requests.stop(session.run, key, target.profile.jupyter, deadline=Deadline(STOP_S))


def _possible(kind: str) -> tuple[Action, ...]:
    """What `down`'s option may do with a worker's machine. Only machines that `up` created are deleted."""
    return ("stop", "suspend") if kind == "gce" else ()
