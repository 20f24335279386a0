"""The story of `down`: stop the server, close the tunnel, leave the instance as the profile or the command says.

The keeper runs it with what it holds; where no keeper lives, the command runs it from the state file alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from . import jupyter
from .bringup import Held
from .errors import RemoteRuntimeError
from .machines import Machines
from .model import Ask, Profile, Runtime, Tell
from .waits import Deadline

CONNECT_S = 20.0
STOP_S = 30.0
INSTANCE_S = 180.0

ServerEnd = Literal["stopped", "kept", "gone", "unknown"]


@dataclass(frozen=True)
class Wish:
    """What `down` was asked for beyond the profile. ``instance``: None leaves it to ``on_down``."""

    keep_server: bool = False
    instance: Literal["stop", "suspend"] | None = None
    purge: bool = False


@dataclass(frozen=True)
class Stopped:
    """What became of it. ``instance``: its last known status, None when there is none. ``remains``: what could not
    be taken away, in words."""

    name: str
    tunnel: bool
    server: ServerEnd
    instance: str | None
    remains: tuple[str, ...] = ()


def take_down(
    runtime: Runtime,
    profile: Profile,
    held: Held,
    machines: Machines,
    wish: Wish,
    *,
    tell: Tell,
    ask: Ask,
) -> Stopped:
    """Never raises ``RemoteRuntimeError``: what failed is in ``remains``."""
    remains: list[str] = []

    def attempt(what: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except RemoteRuntimeError as error:
            remains.append(f"{what}: {error}")
            return False
        return True

    def enter() -> None:
        if runtime.instance is not None and (held.session is None or held.session.closed):
            tell("Connecting to stop Jupyter")
            held.session = machines.connect(profile, runtime.instance, ask=ask, tell=tell, deadline=Deadline(CONNECT_S))

    server: ServerEnd = "gone"
    keep = (wish.keep_server or profile.on_down.server == "keep") and not runtime.unfinished
    if keep and runtime.server is not None:
        server = "kept"
    elif runtime.instance is not None and runtime.instance.status == "RUNNING" and machines.is_there(profile):
        server = "unknown"
        if attempt("Jupyter may still run", enter):
            outcome: list[ServerEnd] = []
            if attempt(
                "Jupyter may still run", lambda: outcome.append(_stop_server(held, runtime, profile, wish, tell))
            ):
                server = outcome[0]
    held.close()
    status = _settle_instance(runtime, profile, machines, wish, tell, attempt)
    attempt("the demo machine may still run", lambda: machines.release(profile, runtime.instance, Deadline(STOP_S)))
    return Stopped(runtime.name, tunnel=True, server=server, instance=status, remains=tuple(remains))


def _stop_server(held: Held, runtime: Runtime, profile: Profile, wish: Wish, tell: Tell) -> ServerEnd:
    if held.session is None:
        raise ValueError("there is no session to stop the server through")
    tell("Stopping Jupyter")
    wanted = jupyter.Wanted(runtime.name, runtime.client_id, profile.jupyter, profile.colab.origins)
    ended = jupyter.stop(held.session.run, wanted, deadline=Deadline(STOP_S))
    if wish.purge:
        tell("Removing our folder from the machine")
        jupyter.purge(held.session.run, profile.jupyter, deadline=Deadline(STOP_S))
    return ended


def _settle_instance(
    runtime: Runtime,
    profile: Profile,
    machines: Machines,
    wish: Wish,
    tell: Tell,
    attempt: Callable[[str, Callable[[], None]], bool],
) -> str | None:
    instance = runtime.instance
    if instance is None or instance.kind not in ("gce", "demo"):
        return None
    if instance.kind == "demo":
        return "GONE"
    action = wish.instance or (profile.on_down.instance if profile.on_down.instance != "keep" else None)
    if runtime.unfinished and instance.started_from is not None and action is None:
        tell(f"Putting {instance.name} back to {instance.started_from}")
        done = attempt(
            f"{instance.name} may still run and cost money",
            lambda: machines.put_back(profile, instance, tell=tell, deadline=Deadline(INSTANCE_S)),
        )
        return instance.started_from if done else instance.status
    if action is None:
        return instance.status
    tell(f"{'Stopping' if action == 'stop' else 'Suspending'} {instance.name}")
    ended: list[str] = []
    attempt(
        f"{instance.name} may still run and cost money",
        lambda: ended.append(machines.change(profile, instance, action, tell=tell, deadline=Deadline(INSTANCE_S))),
    )
    return ended[0] if ended else instance.status
