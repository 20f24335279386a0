"""The story of `down`: stop the server, close the tunnel, leave the instance as the profile or the command says.

The keeper runs it with what it holds; where no keeper lives, the command runs it from the state file alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from typing import Literal, NoReturn, TypeVar

from ..core.access import InstalledKey, merge_keys
from ..core.callbacks import Progress, Prompt
from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError, describe_bug
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance, Runtime, ServerEnd, TakeDownResult
from ..core.profile import Profile
from ..jupyter import server as jupyter
from ..jupyter.idle_policy import watchdog_left_on_disk
from ..targets import KeyPolicy, Target, TargetSession
from .bring_up import Resources
from .upstream import is_listening

log = logging.getLogger(__name__)
# The least: what the profile gives may be short, and what is not reached is left behind.
CONNECT_S, STOP_S = 20.0, 30.0
INSTANCE_S = 180.0

OFF_STATUSES = ("TERMINATED", "STOPPED", "STOPPING", "GONE")
UNKNOWN = "UNKNOWN"
PING_S = 10.0
SERVER_REMAINS = "Jupyter may still run"
MAY_STILL_COST = "{} may still run and cost money"

T = TypeVar("T")


@fast_dataclass(frozen=True)
class TakeDownOptions:
    """What `down` was asked for beyond the profile. ``instance``: None leaves it to ``on_down``. ``no_server``: it is
    known that none of ours is there. ``force``: kernels that are busy end too."""

    keep_server: bool = False
    instance: Literal["stop", "suspend"] | None = None
    purge: bool = False
    no_server: bool = False
    force: bool = False


def ends_kernels(runtime: Runtime, profile: Profile, options: TakeDownOptions) -> bool:
    """Whether the kernels end with it, whose work would be lost."""
    if _action(profile, options) == "stop":
        return True
    attached = runtime.server is not None and runtime.server.attached
    return not (attached or options.keep_server or profile.on_down.server == "keep")


def take_down(
    runtime: Runtime,
    resources: Resources,
    target: Target,
    options: TakeDownOptions,
    *,
    progress: Progress,
    prompt: Prompt,
    confirm: Callable[[str], bool],
    record: Callable[[tuple[InstalledKey, ...]], None],
) -> TakeDownResult:
    """``allow`` is asked whether what is at work, in words, may end. ``record`` is told which keys of ours are there,
    whenever that changes. Raises ``LocalError`` ``busy`` when what is at work may not end, and nothing is changed then;
    whatever else failed is in ``remains``."""
    return _TakeDown(runtime, resources, target, options, progress, prompt, confirm, record).run()


@dataclasses.dataclass
class _TakeDown:
    runtime: Runtime
    resources: Resources
    target: Target
    options: TakeDownOptions
    progress: Progress
    prompt: Prompt
    confirm: Callable[[str], bool]
    record: Callable[[tuple[InstalledKey, ...]], None]

    @property
    def profile(self) -> Profile:
        return self.target.profile

    def run(self) -> TakeDownResult:
        self._remains: dict[str, str] = {}
        self._notes: list[str] = []
        self._on_another_machine = False
        self._keys = self.runtime.keys
        self._machine_answers = False
        self._server_answers = False
        self._status: str | None = None
        try:
            server = self._end_server()
        except LocalError:
            self._revoke(self._keys_of_this_run())
            raise
        self.resources.close()
        self._revoke_keys()
        instance = self._end_instance()
        if server in ("unknown", "kept") and instance in OFF_STATUSES:
            server = "gone"
            self._remains.pop(SERVER_REMAINS, None)
        self._attempt("the demo machine may still run", self._stop_demo)
        remains = tuple(f"{what}: {why}" for what, why in self._remains.items())
        started = self.runtime.instance.running_since if self.runtime.instance and instance == "RUNNING" else ""
        attached = self.runtime.server is not None and self.runtime.server.attached
        notes = (
            *self._notes,
            *(watchdog_left_on_disk(self.runtime) if server == "gone" and instance in OFF_STATUSES[:-1] else ()),
        )
        checked = server != "kept" or (self._server_answers and self.runtime.state in ("ready", "starting"))
        return TakeDownResult(
            self.runtime.name,
            True,
            server,
            instance,
            remains,
            started,
            attached,
            notes,
            self._on_another_machine,
            checked,
        )

    def _attempt(self, what: str, step: Callable[[], T]) -> T | None:
        """What ``step`` answers; None when it failed, which is kept in words."""
        try:
            return step()
        except RemoteRuntimeError as error:
            if error.code == "busy":
                raise
            log.warning("%s: %s", what, error)
            self._on_another_machine = self._on_another_machine or error.code == "another-machine"
            # Its own next step: another try of `down` may never change it.
            self._remains[what] = f"{error}. {error.hint}" if error.hint else str(error)
            return None
        except Exception as error:
            log.exception("a bug of ours while taking down")
            self._remains[what] = describe_bug(error)
            return None

    def _end_server(self) -> ServerEnd:
        instance = self.runtime.instance
        attached = self.runtime.server is not None and self.runtime.server.attached
        if attached and not self.options.purge:
            self._check_server()
            return "kept"  # it is not ours to end
        keep = not ends_kernels(self.runtime, self.profile, self.options)
        keep = keep and not (instance is not None and instance.kind == "demo")  # nothing outlives the demo machine
        if keep and self.runtime.server is not None and not self.runtime.unfinished:
            self._check_server()
            return "kept"
        if not self.target.exists():
            return "gone"
        if self.options.no_server or instance is None:
            return "unknown"  # nobody looks: this `up` has left nothing there
        if instance.status in OFF_STATUSES and self._status_now() in OFF_STATUSES:
            return "gone"
        ended = self._attempt(SERVER_REMAINS, self._stop_server) or "unknown"
        return "kept" if attached else ended

    def _check_session(self) -> bool:
        """Whether the machine answers on the connection that is there."""
        session = self.resources.session
        if session is not None and not session.closed:
            with contextlib.suppress(RemoteRuntimeError):
                session.check(PING_S)
                self._machine_answers = True
        return self._machine_answers

    def _check_server(self) -> None:
        session, server = self.resources.session, self.runtime.server
        if session is not None and server is not None and self._check_session():
            self._server_answers = is_listening(session, server, within_s=PING_S)
            self._notes += [] if self._server_answers else ["Jupyter did not answer on the machine just now"]

    def _stop_server(self) -> ServerEnd:
        session = self._connect()
        self.progress("Stopping Jupyter")
        runtime, profile = self.runtime, self.profile
        wanted = jupyter.ServerSpec(runtime.name, runtime.client_id, profile.jupyter, profile.colab.origins)
        try:
            ended = jupyter.stop(
                session.run, wanted, deadline=self._for_jupyter(), refuse_if_busy=not self.options.force
            )
        except LocalError as busy:
            if not self.confirm(busy.why):
                raise
            ended = jupyter.stop(session.run, wanted, deadline=self._for_jupyter())
        if self.options.purge:
            self.progress("Removing our folder from the machine")
            purged = jupyter.purge(session.run, profile.jupyter, deadline=self._for_jupyter())
            if not purged.done:
                self._remains["our folder stays on the machine"] = f"in use by {', '.join(purged.alive)}"
        return ended

    def _for_instance(self) -> Deadline:
        return Deadline(max(INSTANCE_S, self.profile.timeouts.instance_s))

    def _for_jupyter(self) -> Deadline:
        return Deadline(STOP_S if self.options.force else max(STOP_S, self.profile.timeouts.jupyter_s))

    def _on_key_change(self, keys: tuple[InstalledKey, ...]) -> None:
        self._save_keys(merge_keys(self._keys, keys))

    def _save_keys(self, keys: tuple[InstalledKey, ...]) -> None:
        self._keys = keys
        self.record(keys)

    def _connect(self) -> TargetSession:
        session, instance = self.resources.session, self.runtime.instance
        if instance is None or (session is not None and self._check_session()):
            return session or _missing()
        self.progress(f"Connecting to {instance.name} to stop Jupyter")
        self.resources.session = self.target.connect(
            instance,
            prompt=self.prompt,
            progress=self.progress,
            deadline=Deadline(max(CONNECT_S, self.profile.timeouts.ssh_s)),
            installed_keys=self._keys,
            key_policy=KeyPolicy(self._on_key_change, lambda access, keys: self._on_key_change(keys)),
        )
        self._machine_answers = True
        return self.resources.session

    def _revoke_keys(self) -> None:
        """A key that was added only to get here goes, too."""
        goes = self.options.purge or self.runtime.unfinished
        self._revoke(self._keys if goes else self._keys_of_this_run())

    def _keys_of_this_run(self) -> tuple[InstalledKey, ...]:
        return tuple(key for key in self._keys if key not in self.runtime.keys)

    def _revoke(self, ended: tuple[InstalledKey, ...]) -> None:
        if not ended:
            return

        def withdraw() -> bool:
            self.progress("Taking our key away")
            self.target.revoke_keys(ended, progress=self.progress, deadline=Deadline(STOP_S))
            return True

        if self._attempt("our key stays where we put it", withdraw):
            self._save_keys(tuple(key for key in self._keys if key not in ended))

    def _end_instance(self) -> str | None:
        """The status it ends with, as it was seen now; None for a machine that is not a cloud's."""
        instance = self.runtime.instance
        if instance is None or instance.kind not in ("gce", "demo"):
            return None
        if instance.kind == "demo":
            return "GONE"
        action = _action(self.profile, self.options)
        if action is None and self.runtime.unfinished and instance.started_from is not None:
            self.progress(f"Putting {instance.name} back to {instance.started_from}")
            ended = self._attempt(MAY_STILL_COST.format(instance.name), self._restore_status)
        elif action is None:
            return self._status_now()
        else:
            self.progress(f"{'Stopping' if action == 'stop' else 'Suspending'} {instance.name}")
            ended = self._attempt(MAY_STILL_COST.format(instance.name), lambda: self._set_status(instance, action))
        return ended or self._status_now()

    def _restore_status(self) -> str:
        instance = self.runtime.instance or _missing()
        return self.target.restore_status(instance, progress=self.progress, deadline=self._for_instance())

    def _set_status(self, instance: Instance, action: Literal["stop", "suspend"]) -> str:
        within = self._for_instance()
        return self.target.set_status(instance, action, progress=self.progress, deadline=within)

    def _status_now(self) -> str:
        """A machine that was reached runs; of another the cloud is asked, once."""
        if self._machine_answers:
            return "RUNNING"
        if self._status is None:
            instance = self.runtime.instance or _missing()
            try:
                within = Deadline(STOP_S)
                self._status = self.target.read_instance(instance, progress=self.progress, deadline=within).status
            except RemoteRuntimeError as error:
                self._status = "GONE" if error.code == "instance-not-found" else UNKNOWN
                if self._status == UNKNOWN:
                    self._notes.append(f"whether {instance.name} runs, and costs money, is not known: {error}")
        return self._status

    def _stop_demo(self) -> None:
        self.target.stop_demo(self.runtime.instance, Deadline(STOP_S))


def _action(profile: Profile, options: TakeDownOptions) -> Literal["stop", "suspend"] | None:
    """What becomes of the instance. A server that is to be kept by who takes it down goes on."""
    asked = profile.on_down.instance
    return options.instance or (None if options.keep_server or asked == "keep" else asked)


def _missing() -> NoReturn:
    raise ValueError("a runtime without a machine has nothing to take down there")
