"""What the scheduler reports makes workers joined or lost, and wakes the threads that start them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.cluster.requests import Report, ReportedWorker, Scheduler
from remote_runtime.core.cluster import Cluster, ClusterWorker, Credentials
from remote_runtime.core.model import Runtime
from remote_runtime.core.secret import Secret
from remote_runtime.keeper.cluster_state import ClusterState
from remote_runtime.keeper.runtime_record import RuntimeRecord
from remote_runtime.state import store

SCHEDULER = Scheduler(20_000, {"python": "3.12"}, ("10.0.0.2",))
A_JOINED = Report(True, (ReportedWorker("a", "tls://10.0.0.3:1", 4, 1000, 7),), "text")
NONE_JOINED = Report(True, (), "[]")


@pytest.fixture
def record(tmp_path: Path) -> RuntimeRecord:
    workers = (ClusterWorker("a", "a.yaml", "A"), ClusterWorker("b", "b.yaml", "B", state="removed"))
    cluster = Cluster(Credentials("ca", "cert", Secret("key")), workers=workers)
    state = store.open_state_dir({"REMOTE_RUNTIME_STATE_DIR": str(tmp_path / "state")})
    return RuntimeRecord(state, Runtime("work", "work.yaml", {}, "client", cluster=cluster))


@pytest.fixture
def state(record: RuntimeRecord) -> ClusterState:
    return ClusterState(record)


def test_a_worker_in_the_report_has_joined_and_one_that_is_missing_again_is_lost(state: ClusterState) -> None:
    state.set_scheduler(SCHEDULER)
    assert not state.is_missing("a")  # nothing is known yet
    state.apply(NONE_JOINED)
    assert state.wait_until_missing("a") == SCHEDULER
    state.apply(A_JOINED)
    joined = state.worker("a")
    assert (joined.state, joined.has_joined, joined.threads, joined.tasks) == ("joined", True, 4, 7)
    assert not state.is_missing("a")
    state.apply(NONE_JOINED)
    assert state.worker("a").state == "lost"
    assert state.worker("a").why == "the scheduler has lost its connection"
    assert state.worker("b").state == "removed"


def test_without_a_scheduler_no_worker_is_started(state: ClusterState) -> None:
    state.set_scheduler(SCHEDULER)
    state.apply(NONE_JOINED)
    state.set_scheduler(None)
    assert not state.is_missing("a")


def test_the_end_wakes_every_thread(state: ClusterState) -> None:
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(state.wait_until_missing("a"))),
        threading.Thread(target=lambda: results.append(state.wait_for_retry())),
        threading.Thread(target=lambda: results.append(state.pause(60.0))),
    ]
    for thread in threads:
        thread.start()
    state.end()
    for thread in threads:
        thread.join(10)
    assert sorted(map(str, results)) == ["False", "False", "None"]


def test_another_up_tries_again_what_has_failed(state: ClusterState) -> None:
    state.update(state="failed", why="no Dask", code="cluster-engine-missing")
    state.update_worker("a", state="failed", why="other versions", code="cluster-version-mismatch")
    state.retry()
    assert (state.cluster.state, state.cluster.why) == ("starting", "")
    assert (state.worker("a").state, state.worker("a").code) == ("waiting", "")


def test_each_change_is_in_the_state_file(record: RuntimeRecord, state: ClusterState) -> None:
    state.update_worker("a", state="starting", why="finding its machine")
    saved = store.load_if_readable(record._state, "work")
    assert saved is not None
    assert saved.cluster == state.cluster
    assert replace(saved, cluster=None) == replace(record.runtime, cluster=None)
