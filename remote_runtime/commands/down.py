"""`down`: ask the keeper to take its runtime down; where no keeper lives, do it from the state file."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, Literal

from ..core.access import in_one
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, LocalError, RemoteRuntimeError, from_code
from ..core.model import Runtime
from ..state import ipc, store
from .status import check_name
from .ui import View
from .up import sole, wait_for_end

WITHIN_S = 420.0
REACH_S = 8.0
SILENCE_S = 150.0
FORCE_SILENCE_S = 30.0
MARGIN_S = 30.0


def down(
    name: str,
    *,
    keep_server: bool,
    instance: Literal["stop", "suspend"] | None,
    purge: bool,
    force: bool,
    named: bool = True,
    state: store.StateDir,
    environ: Mapping[str, str],
    view: View,
    called_off: threading.Event,
) -> dict[str, Any]:
    """An entry of ``stopped``; a runtime that is not up is down already. Raises ``LocalError`` ``busy`` when kernels
    are busy and nobody says yes, ``left-behind`` when something could not be taken away. ``named``: by the person, who
    then means what the name means now."""
    wish = {"op": "down", "keep_server": keep_server, "instance": instance, "purge": purge, "force": force}
    check_name(name, state, environ)
    deadline = Deadline(WITHIN_S, called_off)
    with sole(state, name, deadline, view):
        stopped = None
        if store.is_alive(state, name):
            stopped = _through_keeper(name, wish, state, view, deadline)
        if stopped is None:
            stopped = _without_keeper(name, {**wish, "named": named}, state, environ, view, called_off)
    view.done(name)
    remains = stopped.pop("remains")
    stopped.pop("elsewhere", None)
    if purge and not remains:
        store.remember(state, name, replace(store.remembered(state, name), folder=False))
    if remains:
        raise LocalError(
            "left-behind",
            f"{name} is down here, but not everything could be taken away",
            "; ".join(remains),
            f"`remote-runtime down {name}{' --purge' if purge else ''}` tries again; with --force it is forgotten",
        )
    return stopped


def _through_keeper(
    name: str, wish: dict[str, Any], state: store.StateDir, view: View, deadline: Deadline
) -> dict[str, Any] | None:
    """None when the keeper went away meanwhile, so that the rest is ours."""
    with ExitStack() as stack:
        try:
            channel = stack.enter_context(ipc.connected(state, name, deadline.shorter(REACH_S)))
            channel.send(wish)
            silent_s = FORCE_SILENCE_S if wish["force"] else SILENCE_S
            silence = Deadline(silent_s)
            while True:
                event = channel.receive(0.5)
                if event is None:
                    _check(deadline, silence, name)
                    continue
                if event["event"] == "limits" and not wish["force"]:  # a profile that has longer ones
                    silent_s = max(silent_s, event["step_s"] + MARGIN_S)
                    deadline = Deadline(max(deadline.remaining_s(), event["whole_s"]), deadline.called_off)
                silence = Deadline(silent_s)
                if event["event"] == "step":
                    view.step(name, event["text"])
                elif event["event"] == "busy":
                    _allow(name, event["why"], view)
                    channel.send({"op": "go"})
                elif event["event"] == "stopped":
                    wait_for_end(state, name)
                    return {key: value for key, value in event.items() if key != "event"}
        except (FileNotFoundError, ConnectionError, EOFError):
            wait_for_end(state, name)
            return None
        except LocalError as error:
            if error.code != "keeper-unresponsive" or not wish["force"]:
                raise
            _kill(state, name)
            return None


def _without_keeper(
    name: str,
    wish: dict[str, Any],
    state: store.StateDir,
    environ: Mapping[str, str],
    view: View,
    called_off: threading.Event,
) -> dict[str, Any]:
    nothing = {"name": name, "tunnel": False, "server": "unknown", "instance": None, "remains": []}
    try:
        runtime = store.load(state, name)
    except LocalError:
        if not wish["force"]:
            raise
        runtime = None
    if runtime is None:
        _end_stray_demo(state, name)
        store.forget(state, name)
        if _is_demo(name, state, environ):
            nothing["server"] = "gone"  # a demo machine is a process of this computer
        if wish["purge"]:
            from . import ssh as machine

            remains = _purge(name, state, environ, view, called_off, named=wish["named"])
            machine.take_keys_away(name, store.remembered(state, name).keys, state, environ, view)
            for what in remains if wish["force"] else ():
                view.note(name, f"forgotten: {what}")
            return {**nothing, "remains": [] if wish["force"] else remains}
        return nothing
    stopped = _take_down(runtime, wish, state, environ, view)
    attached = runtime.server is not None and runtime.server.attached
    if stopped["server"] == "kept" and not attached and not stopped["remains"]:
        return stopped  # its file stays, so that the next `down` finds it
    if wish["force"] or not stopped["remains"]:
        for what in stopped["remains"]:
            view.note(name, f"forgotten: {what}")
        store.forget(state, name)
        stopped["remains"] = []
        if stopped.get("elsewhere"):
            store.part_with_server(state, name)
    return stopped


def _take_down(
    runtime: Runtime, wish: dict[str, Any], state: store.StateDir, environ: Mapping[str, str], view: View
) -> dict[str, Any]:
    from .. import profiles, ssh
    from ..core.documents import as_stopped
    from ..lifecycle import bring_up, take_down
    from ..targets.gce import Machines

    def ask(prompt: str, *, secret: bool, code: str) -> str:
        try:
            return view.ask(runtime.name, prompt, secret=secret)
        except EOFError as error:
            raise from_code(code, f"An answer is needed: {prompt}", "no terminal is there to ask on") from error

    def allow(why: str) -> bool:
        _allow(runtime.name, why, view)
        return True

    profile = profiles.restore(runtime.name, runtime.profile_path, runtime.profile_text)
    known = store.remembered(state, runtime.name)  # with what an earlier `down` put there and could not take away
    stopped = take_down.take_down(
        replace(runtime, keys=in_one(runtime.keys, known.keys)),
        profile,
        bring_up.Held(),
        Machines(state, environ, ssh.Keys()),
        take_down.Wish(wish["keep_server"], wish["instance"], wish["purge"], force=wish["force"]),
        tell=lambda text: view.step(runtime.name, text),
        ask=ask,
        allow=allow,
        record=lambda keys: store.remember(state, runtime.name, replace(known, keys=keys)),
    )
    return {**as_stopped(stopped), "tunnel": False}


def _purge(
    name: str,
    state: store.StateDir,
    environ: Mapping[str, str],
    view: View,
    called_off: threading.Event,
    *,
    named: bool,
) -> list[str]:
    """Our folder, which an earlier `down` left on the machine of the profile; what stays, in words."""
    if not (state.of(name, "port").exists() and store.remembered(state, name).folder):
        return []  # never up from here, or all that was put there was taken back
    from .. import profiles
    from ..jupyter import server
    from . import ssh as machine
    from .profile_reference import file_of, reference_of

    try:
        reference = reference_of(name, state, environ) if named else file_of(name, state)
        profile = profiles.load(reference, environ=environ)
        if profile.target.kind == "demo":
            return []  # it ended with its runtime
        with closing(
            machine.enter(reference, state=state, environ=environ, view=view, called_off=called_off)
        ) as session:
            view.step(name, "Removing our folder from the machine")
            purged = server.purge(
                session.run, profile.jupyter, deadline=Deadline(profile.timeouts.jupyter_s, called_off)
            )
    except RemoteRuntimeError as error:
        return [] if error.code == "instance-not-found" else [f"our folder may stay on the machine: {error}"]
    return [] if purged.done else [f"our folder stays on the machine: in use by {', '.join(purged.alive)}"]


def _is_demo(name: str, state: store.StateDir, environ: Mapping[str, str]) -> bool:
    from .. import profiles
    from .profile_reference import reference_of

    try:
        return profiles.load(reference_of(name, state, environ), environ=environ).target.kind == "demo"
    except RemoteRuntimeError:
        return False


def _end_stray_demo(state: store.StateDir, name: str) -> None:
    """A demo machine ends by itself when its folder vanishes."""
    home = state.of(name, "machine")
    if home.exists():
        shutil.rmtree(home, ignore_errors=True)  # the machine removes it at the same time


def _allow(name: str, why: str, view: View) -> None:
    if not view.interactive:
        raise LocalError("busy", f"{name} is not taken down", why, "--force takes it down anyway")
    if not view.confirm(name, f"{why[:1].upper()}{why[1:]} on {name}. Take it down anyway?"):
        raise LocalError("busy", f"{name} is not taken down", why)


def _check(deadline: Deadline, silence: Deadline, name: str) -> None:
    deadline.check()
    if silence.passed():
        raise LocalError(
            "keeper-unresponsive",
            f"The background process of {name} says nothing more",
            "it may be stopped",
            f"`remote-runtime down {name} --force` ends it",
        )
    if deadline.passed():
        raise DeadlinePassed(f"Taking {name} down took more than {deadline.within_s:.0f} s", "", "--force ends it")


def _kill(state: store.StateDir, name: str) -> None:
    """The last resort. The lock is held, so the pid in the state file is the keeper's."""
    try:
        runtime = store.load(state, name)
    except RemoteRuntimeError:
        runtime = None
    if runtime is None or not store.is_alive(state, name):
        return
    os.kill(runtime.keeper_pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    wait_for_end(state, name)
