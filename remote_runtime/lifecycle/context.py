"""The inputs of bringing a runtime up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from ..core.access import InstalledKey
from ..core.callbacks import Prompt
from ..core.creation import CloudResource, CreationPlan
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance, Runtime, Server
from ..core.move import MovePlan
from ..core.profile import Profile
from ..targets import Target, TargetSession

if TYPE_CHECKING:
    from ..core.deadline import Deadline


class ProgressSink(Protocol):
    """Receives progress: ``step`` when a step begins, with what is being done and (empty: nothing to show) what was
    done then; ``finish`` when it is done, with what was learnt; ``fail`` when it has failed; ``note`` for what a user
    should know afterwards too; and the call itself for the current detail of a step."""

    def __call__(self, text: str) -> None: ...
    def step(self, text: str, done: str = "") -> None: ...
    def finish(self, done: str) -> None: ...
    def fail(self) -> None: ...
    def note(self, text: str) -> None: ...


@fast_dataclass(frozen=True)
class MayMove:
    """The user lets a VM that cannot start move to another zone. ``confirm`` asks, with the plan; ``on_moved`` is
    called when it has moved. ``delete_old``: the old one is to be deleted when the new one is ready."""

    confirm: Callable[[MovePlan], None]
    on_moved: Callable[[MovePlan], None]
    delete_old: bool = False


class UndoSteps(Protocol):
    """``lifecycle.rollback.Rollback``, to which steps are added."""

    def push(self, description: str, step: Callable[[], object], *, done: str = "", key: str = "") -> None: ...


class PrepareHead(Protocol):
    """Prepares the machine for the runtime's cluster, before Jupyter starts there; a step of ``rollback`` undoes it.
    Returns variables for the kernels. Raises ``RemoteRuntimeError``."""

    def __call__(self, session: TargetSession, rollback: UndoSteps, deadline: Deadline) -> Mapping[str, str]: ...


@fast_dataclass(frozen=True)
class BringUpContext:
    """``record(**facts)`` saves each result (``instance``, ``server``, …) as soon as it is known, so that the state
    file is right even if this process is killed. ``remembered_port``: the local port that was used last time.
    ``previous``: the runtime as an earlier keeper left it; None once this one has brought it up. ``keys``: those that
    `up` added before. ``single_attempt``: one of many attempts: do not wait for a booting machine or a silent port, and
    do not diagnose failures. ``prepare_head``: None without a cluster."""

    client_id: str
    target: Target
    progress: ProgressSink
    prompt: Prompt
    record: Callable[..., None]
    remembered_port: int | None = None
    previous: Runtime | None = None
    keys: tuple[InstalledKey, ...] = ()
    single_attempt: bool = False
    may_install_key: bool = True
    confirm_creation: Callable[[CreationPlan], None] | None = None
    may_move: MayMove | None = None
    prepare_head: PrepareHead | None = None

    @property
    def profile(self) -> Profile:
        return self.target.profile

    @property
    def leftover_instance(self) -> Instance | None:
        """The instance of an earlier `up` that did not finish: if that `up` started it, it is still to be stopped."""
        return self.previous.instance if self.previous is not None and self.previous.unfinished else None

    @property
    def leftover_resources(self) -> tuple[CloudResource, ...]:
        """What an earlier `up` that did not finish created, or was about to. Snapshots and disks are of a move, also
        where the runtime was ready before."""
        if self.previous is None:
            return ()
        made = self.previous.resources
        return made if self.previous.unfinished else tuple(each for each in made if each.kind != "instance")

    @property
    def has_leftover_server(self) -> bool:
        """Whether an earlier `up` that did not finish may have started Jupyter."""
        previous = self.previous
        if previous is None or previous.server is None:
            return False
        return previous.unfinished and not previous.server.attached

    @property
    def last_instance(self) -> Instance | None:
        """The instance of the last `up` that succeeded."""
        return self.previous.instance if self.previous is not None and not self.previous.unfinished else None

    @property
    def last_server(self) -> Server | None:
        return self.previous.server if self.previous is not None and not self.has_leftover_server else None
