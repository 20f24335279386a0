"""What the keeper knows of the cluster, for the threads that change it: the scheduler's and each worker's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..cluster import requests
from ..core.cluster import Cluster, ClusterWorker
from .runtime_record import RuntimeRecord

JOIN_GRACE_S = 10.0  # from a worker's own word that it has joined until the scheduler's report has it


class ClusterState:
    """The runtime's ``Cluster`` is saved at each change. ``ended``: the threads are to end."""

    def __init__(self, record: RuntimeRecord) -> None:
        self._record = record
        self._condition = threading.Condition()
        self._scheduler: requests.Scheduler | None = None
        self._reported = False
        self._tries = 0
        self.ended = threading.Event()

    @property
    def cluster(self) -> Cluster:
        cluster = self._record.runtime.cluster
        if cluster is None:
            raise ValueError("expected a runtime with a cluster")
        return cluster

    def worker(self, name: str) -> ClusterWorker:
        return self.cluster.worker(name)

    def update(self, **changes: Any) -> None:
        self._change(lambda cluster: replace(cluster, **changes))

    def update_worker(self, name: str, **changes: Any) -> None:
        """Raises ``LocalError`` if its machine or a key can't be saved: it may be forgotten then."""

        def change(cluster: Cluster) -> Cluster:
            workers = (replace(each, **changes) if each.name == name else each for each in cluster.workers)
            return replace(cluster, workers=tuple(workers))

        self._change(change, must_be_saved=bool({"instance", "keys"} & changes.keys()))

    def set_scheduler(self, scheduler: requests.Scheduler | None) -> None:
        """None: it does not run, or is not reached."""
        with self._condition:
            self._scheduler, self._reported = scheduler, False
            self._condition.notify_all()

    def apply(self, report: requests.Report) -> None:
        """The scheduler's report: who is in it has joined, who is not any more is lost."""
        listed = {each.name: each for each in report.workers}

        def describe(worker: ClusterWorker) -> ClusterWorker:
            if worker.state == "removed":
                return worker
            if (found := listed.get(worker.name)) is not None:
                return replace(
                    worker, state="joined", why="", code="", has_joined=True, address=found.address,
                    threads=found.threads, memory=found.memory, tasks=found.tasks,
                )  # fmt: skip
            if worker.state == "joined":
                return replace(worker, state="lost", why="the scheduler has lost its connection", tasks=0)
            return worker

        self._change(lambda cluster: replace(cluster, workers=tuple(map(describe, cluster.workers))))
        with self._condition:
            self._reported = True
            self._condition.notify_all()

    def joined_by_itself(self, name: str) -> None:
        """The worker says that it has joined. Returns when the scheduler's report has it too, or after a while."""
        with self._condition:
            self._condition.wait_for(
                lambda: self.ended.is_set() or self.worker(name).state == "joined", timeout=JOIN_GRACE_S
            )

    def wait_until_missing(self, name: str) -> requests.Scheduler | None:
        """The scheduler, when it runs and does not have this worker; None when the threads are to end."""
        with self._condition:
            self._condition.wait_for(lambda: self.ended.is_set() or self.is_missing(name))
            return None if self.ended.is_set() else self._scheduler

    def wait_for_retry(self) -> bool:
        """Returns when `up` asks for another try; False when the threads are to end."""
        with self._condition:
            tries = self._tries
            self._condition.wait_for(lambda: self.ended.is_set() or self._tries != tries)
            return not self.ended.is_set()

    def retry(self) -> None:
        """What has failed is tried again."""

        def forget(worker: ClusterWorker) -> ClusterWorker:
            return replace(worker, state="waiting", why="", code="") if worker.state in ("failed", "lost") else worker

        def change(cluster: Cluster) -> Cluster:
            workers = tuple(map(forget, cluster.workers))
            if cluster.state == "failed":
                cluster = replace(cluster, state="starting", why="", code="")
            return replace(cluster, workers=workers)

        self._change(change)
        with self._condition:
            self._tries += 1
            self._condition.notify_all()

    def pause(self, seconds: float) -> bool:
        """False when the threads are to end; a retry ends the pause."""
        with self._condition:
            tries = self._tries
            self._condition.wait_for(lambda: self.ended.is_set() or self._tries != tries, timeout=seconds)
            return not self.ended.is_set()

    def end(self) -> None:
        with self._condition:
            self.ended.set()
            self._condition.notify_all()

    def is_missing(self, name: str) -> bool:
        """Whether the scheduler runs without it."""
        return self._scheduler is not None and self._reported and self.worker(name).state != "joined"

    def _change(self, change: Callable[[Cluster], Cluster], *, must_be_saved: bool = False) -> None:
        with self._condition:
            before = self.cluster
            after = change(before)
            if after != before:
                save = self._record.save_or_fail if must_be_saved else self._record.update
                save(cluster=after)
            self._condition.notify_all()
