"""What the story of `up` is told with: whose it is, with what, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..core.access import InstalledKey
from ..core.callbacks import Prompt
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance, Server
from ..core.profile import Profile
from ..targets import Target


class ProgressSink(Protocol):
    """Where the story is told: a ``step`` begins, a detail of it changes (the call itself), a ``note`` stays."""

    def __call__(self, text: str) -> None: ...
    def step(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...


@fast_dataclass(frozen=True)
class BringUpContext:
    """What ``ensure`` works with. ``record`` is called with each fact as it becomes one (`instance`, `server`, …), so
    that a keeper that dies leaves a truthful state file. ``remembered_port``: the port used last time. ``owed``: an
    instance that an earlier keeper started and did not live to put back; ``owed_server``: it may have started Jupyter
    too. ``known``: the instance as it was entered last; ``known_server``: the server that was there. ``hurried``: a try
    of many: it does not wait for a machine that boots or a port that is silent, nor for the cloud to say why. ``keys``:
    those that we put there before. ``may_add_key``: one may be put there now."""

    client_id: str
    target: Target
    progress: ProgressSink
    prompt: Prompt
    record: Callable[..., None]
    remembered_port: int | None = None
    leftover_instance: Instance | None = None
    leftover_server: bool = False
    last_instance: Instance | None = None
    last_server: Server | None = None
    single_attempt: bool = False
    keys: tuple[InstalledKey, ...] = ()
    may_install_key: bool = True

    @property
    def profile(self) -> Profile:
        return self.target.profile
