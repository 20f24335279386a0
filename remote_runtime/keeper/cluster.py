"""The runtime's cluster: the scheduler beside Jupyter, and a thread for each worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..cluster import requests
from ..cluster.certificates import make_credentials
from ..cluster.environment import kernel_environment
from ..core.callbacks import Prompt
from ..core.cluster import Cluster, ClusterWorker
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, describe_bug
from ..core.model import Runtime
from ..core.profile import Profile
from ..lifecycle.cluster_end import ClusterEnd
from ..lifecycle.context import ProgressSink, UndoSteps
from ..lifecycle.resources import Resources
from ..targets import Target, TargetSession
from .cluster_state import ClusterState
from .cluster_worker import WorkerRunner
from .runtime_record import RuntimeRecord, profile_yaml

log = logging.getLogger(__name__)
REPORT_S, REST_REPORT_S, REPORT_MARGIN_S = 20.0, 60.0, 15.0
FIRST_PAUSE_S, MAX_PAUSE_S = 2.0, 60.0
POLL_S = 1.0


@dataclass
class ClusterKeeper:
    """``environ``: where profiles are looked up. ``open_target``: the machine of a profile."""

    record: RuntimeRecord
    resources: Resources
    environ: Mapping[str, str]
    open_target: Callable[[Profile], Target]
    prompt: Prompt
    _profile: Profile | None = field(default=None, init=False)
    _state: ClusterState | None = field(default=None, init=False)
    _threads: list[threading.Thread] = field(default_factory=list, init=False)
    _prompt_lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def prepare_head(
        self, profile: Profile, session: TargetSession, rollback: UndoSteps, deadline: Deadline
    ) -> Mapping[str, str]:
        """``lifecycle.context.PrepareHead``. After the first time, the variables are known."""
        cluster = self._cluster(profile)
        if self._profile is not None:
            return kernel_environment(cluster)
        spec = self._head_spec(profile, cluster)

        def undo() -> None:
            requests.stop((self.resources.session or session).run, spec.key, profile.jupyter, deadline=Deadline(30.0))
            self.record.update(cluster=None)

        prepared = requests.prepare(
            session.run,
            spec,
            cluster.port,
            progress=_log_progress,
            deadline=deadline.within(profile.timeouts.jupyter_s),
        )
        if prepared.created or self.record.runtime.unfinished:
            rollback.push("removing the cluster's certificates", undo, done="removed the cluster's certificates")
        cluster = replace(cluster, port=prepared.port, directory=prepared.directory)
        self.record.update(cluster=cluster)
        return kernel_environment(cluster)

    def start(self, profile: Profile) -> None:
        """Begins to start the scheduler and the workers, or tries again where something has failed. Returns at once."""
        if profile.cluster is None or self.record.runtime.cluster is None:
            return
        if self._state is not None and not self._state.ended.is_set():
            self._state.retry()
            return
        self._profile = profile
        self._state = state = ClusterState(self.record)
        state.update(state="starting", why="", code="")
        runners = [
            WorkerRunner(
                worker,
                requests.worker_key(self.record.runtime.name, self.record.runtime.client_id, worker.name),
                profile.cluster,
                state.cluster.credentials,
                state,
                self.open_worker,
                self._ask,
            )
            for worker in state.cluster.workers
            if worker.state != "removed"
        ]
        head = threading.Thread(target=self._keep_scheduler, args=(profile, state), name="cluster", daemon=True)
        self._threads = [
            head,
            *(threading.Thread(target=each.run, name=f"worker-{each.name}", daemon=True) for each in runners),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Nothing is started any more; what runs stays."""
        if self._state is not None:
            self._state.end()
        for thread in self._threads:
            thread.join(REPORT_MARGIN_S)
        self._threads = []

    def ending(self, progress: ProgressSink) -> ClusterEnd | None:
        """What `down` does with the cluster; None without one."""
        if self.record.runtime.cluster is None:
            return None

        def begin() -> Runtime:
            self.close()
            return self.record.runtime

        return ClusterEnd(begin, self.open_worker, progress, self._ask)

    def end_workers(self, progress: ProgressSink) -> None:
        """The machine of the scheduler was stopped because it was idle: its workers are of no use, and may cost
        money."""
        remains: dict[str, str] = {}
        if (ending := self.ending(progress)) is not None:
            ending.end_workers(None, remains, [])
        for what, why in remains.items():
            log.warning("%s: %s", what, why)

    def open_worker(self, worker: ClusterWorker) -> Target:
        from .. import profiles  # imports yaml

        return self.open_target(profiles.parse_profile(worker.name, worker.profile_path, worker.profile_text))

    def _cluster(self, profile: Profile) -> Cluster:
        """The one of the state file, with the workers that the profile names now. Those of an earlier `up` stay in it
        until `down` has ended them."""
        known = self.record.runtime.cluster
        if known is not None and self._profile is not None:
            return known
        from .. import profiles  # imports yaml

        named = {
            each.name: ClusterWorker(each.name, str(each.path), profile_yaml(each))
            for each in profiles.load_cluster_workers(profile, self.environ)
        }
        earlier = {each.name: each for each in known.workers} if known else {}
        workers = [
            replace(earlier[name], state="waiting", profile_text=worker.profile_text) if name in earlier else worker
            for name, worker in named.items()
        ]
        removed = [replace(each, state="removed") for name, each in earlier.items() if name not in named]
        cluster = replace(known or Cluster(make_credentials()), workers=(*workers, *removed))
        self.record.save_or_fail(cluster=cluster)
        return cluster

    def _keep_scheduler(self, profile: Profile, state: ClusterState) -> None:
        pause_s = FIRST_PAUSE_S
        while not state.ended.is_set():
            session = self.resources.session
            if session is None or session.closed:
                state.ended.wait(POLL_S)
                continue
            try:
                self._follow_scheduler(profile, state, session)
                pause_s = FIRST_PAUSE_S
            except Interrupted:
                return
            except RemoteRuntimeError as error:
                if session.closed:
                    continue  # the keeper reconnects; workers do not need this connection
                log.warning("cluster: %s: %s", error.code, error)
                why = f"{error}. {error.hint}" if error.hint else str(error)
                state.set_scheduler(None)
                state.update(state="failed", why=why, code=error.code)
                if not state.pause(pause_s):
                    return
                pause_s = min(MAX_PAUSE_S, 2 * pause_s)
            except Exception as error:
                log.exception("internal error in the cluster")
                state.set_scheduler(None)
                state.update(state="failed", why=describe_bug(error), code="bug")
                state.pause(MAX_PAUSE_S)

    def _follow_scheduler(self, profile: Profile, state: ClusterState, session: TargetSession) -> None:
        """Returns when the scheduler does not run any more. Raises ``RemoteRuntimeError``."""
        spec = self._head_spec(profile, state.cluster)
        deadline = Deadline(profile.timeouts.jupyter_s, state.ended)
        scheduler = requests.start_scheduler(
            session.run, spec, state.cluster.port, progress=_log_progress, deadline=deadline
        )
        state.update(state="running", why="", code="")
        state.set_scheduler(scheduler)
        seen = ""
        while True:
            for_s = (REPORT_S if self.resources.is_in_use else REST_REPORT_S) if seen else 0.0
            deadline = Deadline(for_s + REPORT_MARGIN_S, state.ended)
            report = requests.watch(session.run, spec, seen, for_s=for_s, deadline=deadline)
            if not report.running:
                log.warning("cluster: the scheduler has ended")
                state.set_scheduler(None)
                state.apply(report)
                return
            state.apply(report)
            seen = report.text

    def _head_spec(self, profile: Profile, cluster: Cluster) -> requests.MachineSpec:
        runtime = self.record.runtime
        key = requests.head_key(runtime.name, runtime.client_id)
        return requests.MachineSpec(key, profile.jupyter, cluster.credentials)

    def _ask(self, prompt: str, *, secret: bool, code: str) -> str:
        """One question at a time: several workers may ask."""
        with self._prompt_lock:
            return self.prompt(prompt, secret=secret, code=code)


def _log_progress(text: str) -> None:
    log.info("cluster: %s", text)
