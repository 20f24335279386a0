"""Stops a runtime: stop the server, close the tunnel, leave the instance as the profile or the command says.

The keeper does it with its open resources; if no keeper runs, the command does it with the state file alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ..cluster import requests as cluster
from ..core.access import InstalledKey, merge_keys
from ..core.callbacks import Prompt
from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError, describe_bug
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance, Runtime, ServerEnd, TakeDownResult
from ..core.profile import Profile
from ..jupyter import server as jupyter
from ..jupyter.idle_policy import watchdog_left_on_disk
from ..targets import KeyPolicy, LoginOptions, Target, TargetSession
from .cluster_end import ClusterEnd
from .context import ProgressSink
from .instance_end import MIN_STOP_S, OFF_STATUSES, Action, InstanceEnd, instance_action
from .resources import Resources
from .upstream import is_listening

log = logging.getLogger(__name__)
# Minimum timeouts: the profile's may be short, and what is not reached in time stays on the machine.
MIN_CONNECT_S = 20.0
PING_S = 10.0

REMOTE_DIR = "~/.local/share/remote-runtime"
SERVER_REMAINS = "Jupyter may still be running"
SCHEDULER_REMAINS = "Dask's scheduler may still be running"

T = TypeVar("T")


@fast_dataclass(frozen=True)
class TakeDownOptions:
    """The options of `down` beyond the profile. ``instance``: None leaves it to ``on_down``. ``no_server``: it is
    known that there is none. ``force``: end busy kernels too."""

    keep_server: bool = False
    instance: Action | None = None
    purge: bool = False
    no_server: bool = False
    force: bool = False


def ends_kernels(runtime: Runtime, profile: Profile, options: TakeDownOptions) -> bool:
    """Whether the kernels, and their work, end too."""
    if instance_action(profile, options.instance, keep_server=options.keep_server) in ("stop", "delete"):
        return True
    return not (_is_attached(runtime) or options.keep_server or profile.on_down.server == "keep")


@dataclass
class TakeDown:
    """``confirm`` is called with a description of running work, and returns whether it can be stopped;
    ``confirm_deletion`` with the question before a VM is deleted. ``record`` is called with the keys that
    remote-runtime has installed, whenever they change. ``cluster_end``: None without a cluster."""

    runtime: Runtime
    resources: Resources
    target: Target
    options: TakeDownOptions
    progress: ProgressSink
    prompt: Prompt
    confirm: Callable[[str], bool]
    confirm_deletion: Callable[[str], bool]
    record: Callable[[tuple[InstalledKey, ...]], None]
    cluster_end: ClusterEnd | None = None

    _remains: dict[str, str] = field(default_factory=dict, init=False)
    _notes: list[str] = field(default_factory=list, init=False)
    _on_another_machine: bool = field(default=False, init=False)
    _server_answers: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._profile = self.target.profile
        self._keys = self.runtime.keys
        action = instance_action(self._profile, self.options.instance, keep_server=self.options.keep_server)
        self._instance = InstanceEnd(
            self.runtime, self.target, action, self.progress, self.confirm_deletion, self._attempt, self._notes
        )

    def run(self) -> TakeDownResult:
        """Raises ``LocalError`` ``busy`` when running work must not be ended, or a VM not be deleted; ``CloudError``
        ``not-created-here``. Nothing is changed then. All other failures are in the result's ``remains``."""
        self._instance.check_deletion()
        try:
            server = self._end_server()
        except LocalError:
            self._revoke(self._keys_of_this_run())
            raise
        self._end_cluster(None)
        self.resources.close()
        # A key that was installed only to connect here is always removed.
        self._revoke(self._keys if self.options.purge or self.runtime.unfinished else self._keys_of_this_run())
        instance = self.runtime.instance
        status = self._instance.run()
        if server in ("unknown", "kept") and status in OFF_STATUSES:
            server = "gone"
            self._remains.pop(SERVER_REMAINS, None)
        if status in OFF_STATUSES:
            self._remains.pop(SCHEDULER_REMAINS, None)
        self._attempt(
            "the demo machine may still be running", lambda: self.target.stop_demo(instance, Deadline(MIN_STOP_S))
        )
        is_on_disk = server == "gone" and status in OFF_STATUSES and status not in ("GONE", "DELETED")
        return TakeDownResult(
            name=self.runtime.name,
            tunnel=True,
            server=server,
            instance=status,
            remains=tuple(f"{what}: {why}" for what, why in self._remains.items()),
            instance_since=instance.running_since if instance is not None and status == "RUNNING" else "",
            attached=_is_attached(self.runtime),
            notes=(*self._notes, *(watchdog_left_on_disk(self.runtime) if is_on_disk else ())),
            elsewhere=self._on_another_machine,
            price=self.runtime.price,
            price_since=self.runtime.price_since,
            checked=server != "kept" or (self._server_answers and self.runtime.state in ("ready", "starting")),
        )

    def _attempt(self, remains: str, step: Callable[[], T]) -> T | None:
        """What ``step`` returns; None if it failed, which adds ``remains`` to the result."""
        try:
            return step()
        except RemoteRuntimeError as error:
            if error.code == "busy":
                raise
            self.progress.fail()
            log.warning("%s: %s", remains, error)
            self._on_another_machine = self._on_another_machine or error.code == "another-machine"
            # With the error's own hint: another `down` may never change it.
            self._remains[remains] = f"{error}. {error.hint}" if error.hint else str(error)
            return None
        except Exception as error:
            self.progress.fail()
            log.exception("internal error while stopping")
            self._remains[remains] = describe_bug(error)
            return None

    # ── the server ──

    def _end_server(self) -> ServerEnd:
        runtime, instance, is_attached = self.runtime, self.runtime.instance, _is_attached(self.runtime)
        if is_attached and not self.options.purge:
            self._check_server()
            return "kept"  # the user started it
        keep = not ends_kernels(runtime, self._profile, self.options)
        keep = keep and not (instance is not None and instance.kind == "demo")  # it ends with the demo machine
        if keep and runtime.server is not None and not runtime.unfinished:
            self._check_server()
            return "kept"
        if not self.target.exists():
            return "gone"
        if self.options.no_server or self._instance.undoes_creation or instance is None:
            return "unknown"  # not checked: this `up` has left nothing there
        if instance.status in OFF_STATUSES and self._instance.status_now(instance) in OFF_STATUSES:
            return "gone"
        ended = self._attempt(SERVER_REMAINS, lambda: self._stop_server(instance)) or "unknown"
        return "kept" if is_attached else ended

    def _check_server(self) -> None:
        session, server = self._open_session(), self.runtime.server
        if session is not None and server is not None:
            self._server_answers = is_listening(session, server, within_s=PING_S)
            self._notes += [] if self._server_answers else ["Jupyter on the machine did not respond to a check"]

    def _stop_server(self, instance: Instance) -> ServerEnd:
        session = self._open_session() or self._connect(instance)
        self.progress.step("Stopping Jupyter", "Stopped Jupyter")
        runtime, profile, options = self.runtime, self._profile, self.options
        spec = jupyter.ServerSpec(runtime.name, runtime.client_id, profile.jupyter, profile.colab.origins)
        timeout_s = MIN_STOP_S if options.force else max(MIN_STOP_S, profile.timeouts.jupyter_s)
        try:
            ended = jupyter.stop(session.run, spec, deadline=Deadline(timeout_s), refuse_if_busy=not options.force)
        except LocalError as busy:
            if not self.confirm(busy.why):
                raise
            ended = jupyter.stop(session.run, spec, deadline=Deadline(timeout_s))
        self._end_cluster(session)
        if options.purge:
            self.progress.step(f"Removing {REMOTE_DIR} from the machine", f"Removed {REMOTE_DIR} from the machine")
            purged = jupyter.purge(session.run, profile.jupyter, deadline=Deadline(timeout_s))
            if not purged.done:
                self._remains[f"{REMOTE_DIR} stays on the machine"] = f"in use by {', '.join(purged.alive)}"
        return ended

    def _end_cluster(self, session: TargetSession | None) -> None:
        """After Jupyter, whose kernels use it; once. Workers first, then the scheduler."""
        ending, self.cluster_end = self.cluster_end, None
        instance, runtime = self.runtime.instance, self.runtime
        if ending is None:
            return
        ending.end_workers(self.options.instance, self._remains, self._notes)
        if instance is None or self._instance.status_now(instance) in OFF_STATUSES:
            return

        def end_scheduler() -> None:
            run = (session or self._open_session() or self._connect(instance)).run
            key = cluster.head_key(runtime.name, runtime.client_id)
            cluster.stop(run, key, self._profile.jupyter, deadline=Deadline(MIN_STOP_S))

        self._attempt(SCHEDULER_REMAINS, end_scheduler)

    def _open_session(self) -> TargetSession | None:
        """The session that is open, if the machine answers on it."""
        session = self.resources.session
        if session is None or session.closed:
            return None
        try:
            session.check(PING_S)
        except RemoteRuntimeError:
            return None
        self._instance.machine_answers = True
        return session

    def _connect(self, instance: Instance) -> TargetSession:
        self.progress.step(f"Connecting to {instance.name}")

        def save_new(keys: tuple[InstalledKey, ...]) -> None:
            self._save_keys(merge_keys(self._keys, keys))

        options = LoginOptions(
            self.progress,
            Deadline(max(MIN_CONNECT_S, self._profile.timeouts.ssh_s)),
            self.prompt,
            self._keys,
            KeyPolicy.saved_by(save_new),
        )
        self.resources.session = session = self.target.connect(instance, options)
        self._instance.machine_answers = True
        return session

    # ── added keys ──

    def _keys_of_this_run(self) -> tuple[InstalledKey, ...]:
        return tuple(key for key in self._keys if key not in self.runtime.keys)

    def _revoke(self, keys: tuple[InstalledKey, ...]) -> None:
        if not keys:
            return

        def revoke() -> bool:
            self.progress.step("Removing the SSH key", "Removed the SSH key")
            self.target.revoke_keys(keys, progress=self.progress, deadline=Deadline(MIN_STOP_S))
            return True

        if self._attempt("the SSH key could not be removed", revoke):
            self._save_keys(tuple(key for key in self._keys if key not in keys))

    def _save_keys(self, keys: tuple[InstalledKey, ...]) -> None:
        self._keys = keys
        self.record(keys)


def _is_attached(runtime: Runtime) -> bool:
    return runtime.server is not None and runtime.server.attached
