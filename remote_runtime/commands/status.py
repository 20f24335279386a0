"""`status` and `url`: what a runtime is now. Its keeper is asked; the file speaks only for a keeper that is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ..core.deadline import Deadline
from ..core.documents import as_document
from ..core.errors import LocalError, RemoteRuntimeError, UsageError
from ..core.model import Runtime
from ..state import ipc, store

ANSWER_S = 8.0


def status(names: list[str], state: store.StateDir, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """RUNTIME of each name, of all that there are when none is given. Raises as ``check_name``."""
    for name in names:
        check_name(name, state, environ)
    return [_spoken(look(state, name), state, environ) for name in names or store.names(state)]


def check_name(name: str, state: store.StateDir, environ: Mapping[str, str]) -> None:
    """Raises ``UsageError`` ``profile-not-found`` for a name that was never up here and that no profile has."""
    from .. import profiles

    reference, name = name, profiles.name_of(name)
    if state.of(name, "json").exists() or state.of(name, "alive").exists():
        return
    try:
        profiles.load(reference, environ=environ)
    except UsageError as error:
        if error.code == "profile-not-found":
            raise


def _spoken(runtime: dict[str, Any], state: store.StateDir, environ: Mapping[str, str]) -> dict[str, Any]:
    """With commands that work as they stand."""
    error = runtime["last_error"] or {}
    if "remote-runtime" not in runtime["why"] + error.get("why", "") + error.get("hint", ""):
        return runtime
    from .profile_reference import spoken

    def say(text: str) -> str:
        return spoken(text, runtime["name"], state, environ)

    said = {key: say(error[key]) for key in ("why", "hint") if key in error}
    return {**runtime, "why": say(runtime["why"]), "last_error": {**error, **said} if error else None}


def look(state: store.StateDir, name: str) -> dict[str, Any]:
    """RUNTIME now; ``down`` with the reason when no keeper lives, whatever its file says."""
    alive = store.is_alive(state, name)
    if alive:
        try:
            return _ask(state, name)
        except (FileNotFoundError, ConnectionError, EOFError):
            alive = store.is_alive(state, name)  # it may just start, or just end
        except LocalError as error:
            known = _known(state, name)
            seen = known.seen or _written_at(state, name)
            return as_document(replace(known, state="unreachable", why=str(error), seen=seen))
    known = _known(state, name)
    if alive:
        return as_document(replace(known, state="starting", why="its background process is starting"))
    seen = known.seen or _written_at(state, name)
    return as_document(replace(known, state="down", why=_why_down(known), rtt_ms=None, seen=seen))


def _written_at(state: store.StateDir, name: str) -> str:
    """ISO 8601; empty where there is no file. A keeper that ended without a word wrote it last when it saw news."""
    try:
        moment = state.of(name, "json").stat().st_mtime
    except OSError:
        return ""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds")


def url(name: str, state: store.StateDir, environ: Mapping[str, str]) -> str:
    """The URL, token included. Raises ``LocalError`` ``not-up`` when the runtime is not ready, or as ``check_name``."""
    check_name(name, state, environ)
    runtime = look(state, name)
    if runtime["state"] != "ready":
        raise LocalError(
            "not-up",
            f"{name} is {runtime['state']}",
            runtime["why"],
            f"`remote-runtime up {name}` brings it up",
        )
    return str(runtime["url"])


def _ask(state: store.StateDir, name: str) -> dict[str, Any]:
    deadline = Deadline(ANSWER_S)
    with ipc.connected(state, name, deadline) as channel:
        channel.send({"op": "status"})
        event = channel.receive(deadline.remaining_s())
    if event is None:
        raise LocalError(
            "keeper-unresponsive", f"The background process of {name} does not answer", "it may be stopped"
        )
    return dict(event["runtime"])


def _known(state: store.StateDir, name: str) -> Runtime:
    nothing = Runtime(name=name, profile_path="", target={}, client_id="", state="down", unfinished=True)
    try:
        return store.load(state, name) or nothing
    except RemoteRuntimeError as error:
        return replace(nothing, why=str(error), last_error=error.as_dict())


def _why_down(known: Runtime) -> str:
    if known.keeper_pid == 0:
        return known.why
    if known.state == "down":
        return known.why
    left = "what it had started may still be there" if known.unfinished else "its server may still run on the machine"
    return (
        f"the background process ended unexpectedly; {left}: "
        f"`remote-runtime up {known.name}` mends it, `remote-runtime down {known.name}` cleans up"
    )
