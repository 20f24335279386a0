"""The story of `down`: stop the server, close the tunnel, leave the instance as the profile or the command says.

The keeper runs it with what it holds; where no keeper lives, the command runs it from the state file alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from typing import Literal, NoReturn, TypeVar

from ..core.access import AddedKey, in_one
from ..core.callbacks import Ask, Tell
from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError, unforeseen
from ..core.frozen import dataclass
from ..core.model import Instance, Profile, Runtime
from ..core.stopped import ServerEnd, Stopped
from ..jupyter import server as jupyter
from ..jupyter.idle_policy import left_on_disk
from ..targets import gce_login
from ..targets.gce import Machines, Session
from .bring_up import Held
from .upstream import answers

log = logging.getLogger(__name__)
# The least: what the profile gives may be short, and what is not reached is left behind.
CONNECT_S, STOP_S = 20.0, 30.0
INSTANCE_S = 180.0

OFF = ("TERMINATED", "STOPPED", "STOPPING", "GONE")
UNKNOWN = "UNKNOWN"
PING_S = 10.0
SERVER_REMAINS = "Jupyter may still run"
COSTS = "{} may still run and cost money"

T = TypeVar("T")


@dataclass(frozen=True)
class Wish:
    """What `down` was asked for beyond the profile. ``instance``: None leaves it to ``on_down``. ``no_server``: it is
    known that none of ours is there. ``force``: kernels that are busy end too."""

    keep_server: bool = False
    instance: Literal["stop", "suspend"] | None = None
    purge: bool = False
    no_server: bool = False
    force: bool = False


def ends_kernels(runtime: Runtime, profile: Profile, wish: Wish) -> bool:
    """Whether the kernels end with it, whose work would be lost."""
    if _action(profile, wish) == "stop":
        return True
    attached = runtime.server is not None and runtime.server.attached
    return not (attached or wish.keep_server or profile.on_down.server == "keep")


def take_down(
    runtime: Runtime,
    profile: Profile,
    held: Held,
    machines: Machines,
    wish: Wish,
    *,
    tell: Tell,
    ask: Ask,
    allow: Callable[[str], bool],
    record: Callable[[tuple[AddedKey, ...]], None],
) -> Stopped:
    """``allow`` is asked whether what is at work, in words, may end. ``record`` is told which keys of ours are there,
    whenever that changes. Raises ``LocalError`` ``busy`` when what is at work may not end, and nothing is changed then;
    whatever else failed is in ``remains``."""
    return _TakeDown(runtime, profile, held, machines, wish, tell, ask, allow, record).run()


@dataclasses.dataclass
class _TakeDown:
    runtime: Runtime
    profile: Profile
    held: Held
    machines: Machines
    wish: Wish
    tell: Tell
    ask: Ask
    allow: Callable[[str], bool]
    record: Callable[[tuple[AddedKey, ...]], None]

    def run(self) -> Stopped:
        self._remains: dict[str, str] = {}
        self._notes: list[str] = []
        self._elsewhere = False
        self._keys = self.runtime.keys
        self._is_reached = False
        self._is_served = False
        self._seen: str | None = None
        try:
            server = self._end_server()
        except LocalError:
            self._take_away(self._keys_of_this_visit())
            raise
        self.held.close()
        self._end_keys()
        instance = self._settle_instance()
        if server in ("unknown", "kept") and instance in OFF:
            server = "gone"
            self._remains.pop(SERVER_REMAINS, None)
        self._attempt("the demo machine may still run", self._release)
        remains = tuple(f"{what}: {why}" for what, why in self._remains.items())
        started = self.runtime.instance.running_since if self.runtime.instance and instance == "RUNNING" else ""
        attached = self.runtime.server is not None and self.runtime.server.attached
        notes = (*self._notes, *(left_on_disk(self.runtime) if server == "gone" and instance in OFF[:-1] else ()))
        checked = server != "kept" or (self._is_served and self.runtime.state in ("ready", "starting"))
        return Stopped(
            self.runtime.name, True, server, instance, remains, started, attached, notes, self._elsewhere, checked
        )

    def _attempt(self, what: str, step: Callable[[], T]) -> T | None:
        """What ``step`` answers; None when it failed, which is kept in words."""
        try:
            return step()
        except RemoteRuntimeError as error:
            if error.code == "busy":
                raise
            log.warning("%s: %s", what, error)
            self._elsewhere = self._elsewhere or error.code == "another-machine"
            # Its own next step: another try of `down` may never change it.
            self._remains[what] = f"{error}. {error.hint}" if error.hint else str(error)
            return None
        except Exception as error:
            log.exception("a bug of ours while taking down")
            self._remains[what] = unforeseen(error)
            return None

    def _end_server(self) -> ServerEnd:
        instance = self.runtime.instance
        attached = self.runtime.server is not None and self.runtime.server.attached
        if attached and not self.wish.purge:
            self._look_at_server()
            return "kept"  # it is not ours to end
        keep = not ends_kernels(self.runtime, self.profile, self.wish)
        keep = keep and not (instance is not None and instance.kind == "demo")  # nothing outlives the demo machine
        if keep and self.runtime.server is not None and not self.runtime.unfinished:
            self._look_at_server()
            return "kept"
        if not self.machines.is_there(self.profile):
            return "gone"
        if self.wish.no_server or instance is None:
            return "unknown"  # nobody looks: this `up` has left nothing there
        if instance.status in OFF and self._status_now() in OFF:
            return "gone"
        ended = self._attempt(SERVER_REMAINS, self._stop_server) or "unknown"
        return "kept" if attached else ended

    def _reach(self) -> bool:
        """Whether the machine answers on the connection that is there."""
        session = self.held.session
        if session is not None and not session.closed:
            with contextlib.suppress(RemoteRuntimeError):
                session.check(PING_S)
                self._is_reached = True
        return self._is_reached

    def _look_at_server(self) -> None:
        session, server = self.held.session, self.runtime.server
        if session is not None and server is not None and self._reach():
            self._is_served = answers(session, server, within_s=PING_S)
            self._notes += [] if self._is_served else ["Jupyter did not answer on the machine just now"]

    def _stop_server(self) -> ServerEnd:
        session = self._enter()
        self.tell("Stopping Jupyter")
        runtime, profile = self.runtime, self.profile
        wanted = jupyter.Wanted(runtime.name, runtime.client_id, profile.jupyter, profile.colab.origins)
        try:
            ended = jupyter.stop(session.run, wanted, deadline=self._for_jupyter(), spare_busy=not self.wish.force)
        except LocalError as busy:
            if not self.allow(busy.why):
                raise
            ended = jupyter.stop(session.run, wanted, deadline=self._for_jupyter())
        if self.wish.purge:
            self.tell("Removing our folder from the machine")
            purged = jupyter.purge(session.run, profile.jupyter, deadline=self._for_jupyter())
            if not purged.done:
                self._remains["our folder stays on the machine"] = f"in use by {', '.join(purged.alive)}"
        return ended

    def _for_instance(self) -> Deadline:
        return Deadline(max(INSTANCE_S, self.profile.timeouts.instance_s))

    def _for_jupyter(self) -> Deadline:
        return Deadline(STOP_S if self.wish.force else max(STOP_S, self.profile.timeouts.jupyter_s))

    def _added(self, instance: Instance, keys: tuple[AddedKey, ...]) -> None:
        self._keep(in_one(self._keys, keys))

    def _keep(self, keys: tuple[AddedKey, ...]) -> None:
        self._keys = keys
        self.record(keys)

    def _enter(self) -> Session:
        session, instance = self.held.session, self.runtime.instance
        if instance is None or (session is not None and self._reach()):
            return session or _missing()
        self.tell(f"Connecting to {instance.name} to stop Jupyter")
        self.held.session = self.machines.connect(
            self.profile,
            instance,
            ask=self.ask,
            tell=self.tell,
            deadline=Deadline(max(CONNECT_S, self.profile.timeouts.ssh_s)),
            added=self._keys,
            wish=gce_login.Wish(self._added),
        )
        self._is_reached = True
        return self.held.session

    def _end_keys(self) -> None:
        """A key that was added only to get here goes, too."""
        goes = self.wish.purge or self.runtime.unfinished
        self._take_away(self._keys if goes else self._keys_of_this_visit())

    def _keys_of_this_visit(self) -> tuple[AddedKey, ...]:
        return tuple(key for key in self._keys if key not in self.runtime.keys)

    def _take_away(self, ended: tuple[AddedKey, ...]) -> None:
        if not ended:
            return

        def withdraw() -> bool:
            self.tell("Taking our key away")
            self.machines.withdraw(self.profile, ended, tell=self.tell, deadline=Deadline(STOP_S))
            return True

        if self._attempt("our key stays where we put it", withdraw):
            self._keep(tuple(key for key in self._keys if key not in ended))

    def _settle_instance(self) -> str | None:
        """The status it ends with, as it was seen now; None for a machine that is not a cloud's."""
        instance = self.runtime.instance
        if instance is None or instance.kind not in ("gce", "demo"):
            return None
        if instance.kind == "demo":
            return "GONE"
        action = _action(self.profile, self.wish)
        if action is None and self.runtime.unfinished and instance.started_from is not None:
            self.tell(f"Putting {instance.name} back to {instance.started_from}")
            ended = self._attempt(COSTS.format(instance.name), self._put_back)
        elif action is None:
            return self._status_now()
        else:
            self.tell(f"{'Stopping' if action == 'stop' else 'Suspending'} {instance.name}")
            ended = self._attempt(COSTS.format(instance.name), lambda: self._change(instance, action))
        return ended or self._status_now()

    def _put_back(self) -> str:
        instance = self.runtime.instance or _missing()
        return self.machines.put_back(self.profile, instance, tell=self.tell, deadline=self._for_instance())

    def _change(self, instance: Instance, action: Literal["stop", "suspend"]) -> str:
        within = self._for_instance()
        return self.machines.change(self.profile, instance, action, tell=self.tell, deadline=within)

    def _status_now(self) -> str:
        """A machine that was reached runs; of another the cloud is asked, once."""
        if self._is_reached:
            return "RUNNING"
        if self._seen is None:
            instance = self.runtime.instance or _missing()
            try:
                within = Deadline(STOP_S)
                self._seen = self.machines.read(self.profile, instance, tell=self.tell, deadline=within).status
            except RemoteRuntimeError as error:
                self._seen = "GONE" if error.code == "instance-not-found" else UNKNOWN
                if self._seen == UNKNOWN:
                    self._notes.append(f"whether {instance.name} runs, and costs money, is not known: {error}")
        return self._seen

    def _release(self) -> None:
        self.machines.release(self.profile, self.runtime.instance, Deadline(STOP_S))


def _action(profile: Profile, wish: Wish) -> Literal["stop", "suspend"] | None:
    """What becomes of the instance. A server that is to be kept by who takes it down goes on."""
    asked = profile.on_down.instance
    return wish.instance or (None if wish.keep_server or asked == "keep" else asked)


def _missing() -> NoReturn:
    raise ValueError("a runtime without a machine has nothing to take down there")
