"""`status` and `url`: asks the keeper, or reads the state file when there is no keeper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ..core.documents import runtime_document
from ..core.errors import LocalError, RemoteRuntimeError, UsageError
from ..core.errors.catalogue import fill_in_profile
from ..core.model import Runtime
from ..state import ipc, store

ANSWER_TIMEOUT_S = 8.0


def status(names: list[str], state: store.StateDir, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """RUNTIME documents of ``names``, or of all runtimes. Raises as ``require_known_name``."""
    for name in names:
        require_known_name(name, state, environ)
    runtimes = [fill_in_commands(read_status(state, name), state, environ) for name in names or store.list_names(state)]
    return [{**each, "target": each["target"] or _profile_target(each["name"], environ)} for each in runtimes]


def _profile_target(name: str, environ: Mapping[str, str]) -> dict[str, str | None]:
    """The target of a name without a state file."""
    from .. import profiles

    try:
        return dict(profiles.load(name, environ=environ).target_fields())
    except UsageError:
        return {"kind": None}


def require_known_name(name: str, state: store.StateDir, environ: Mapping[str, str]) -> None:
    """Raises ``UsageError`` ``profile-not-found`` for a name without state files and without a profile."""
    from .. import profiles

    reference, name = name, profiles.name_of(name)
    if state.file_path(name, "json").exists() or state.file_path(name, "alive").exists():
        return
    try:
        profiles.load(reference, environ=environ)
    except UsageError as error:
        if error.code == "profile-not-found":
            raise


def fill_in_commands(runtime: dict[str, Any], state: store.StateDir, environ: Mapping[str, str]) -> dict[str, Any]:
    """RUNTIME with the runtime's profile in the commands of its reasons and hints."""
    from .profile_reference import profile_reference

    reference, error = profile_reference(runtime["name"], state, environ), runtime["last_error"]
    if error:
        error = {key: fill_in_profile(text, reference) for key, text in error.items()}
    return {**runtime, "why": fill_in_profile(runtime["why"], reference), "last_error": error}


def read_status(state: store.StateDir, name: str) -> dict[str, Any]:
    """RUNTIME as the keeper reports it; ``down`` with the reason when there is no keeper."""
    alive = store.is_alive(state, name)
    if alive:
        try:
            return dict(ipc.request(state, name, {"op": "status"}, ANSWER_TIMEOUT_S)["runtime"])
        except (FileNotFoundError, ConnectionError, EOFError):
            alive = store.is_alive(state, name)  # it may just start, or just end
        except LocalError as error:
            runtime = load_runtime(state, name)
            seen_at = runtime.seen or _saved_at(state, name)
            return runtime_document(replace(runtime, state="unreachable", why=str(error), seen=seen_at))
    runtime = load_runtime(state, name)
    if alive:
        return runtime_document(replace(runtime, state="starting", why="the background process is starting"))
    seen_at = runtime.seen or _saved_at(state, name)
    return runtime_document(replace(runtime, state="down", why=_down_reason(runtime), rtt_ms=None, seen=seen_at))


def _saved_at(state: store.StateDir, name: str) -> str:
    """When the state file was written, ISO 8601; empty without a file."""
    try:
        moment = state.file_path(name, "json").stat().st_mtime
    except OSError:
        return ""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds")


def url(name: str, state: store.StateDir, environ: Mapping[str, str]) -> str:
    """The URL with the token. Raises ``LocalError`` ``not-up`` when the runtime is not ready, or as
    ``require_known_name``."""
    runtime = with_url(name, state, environ)
    if runtime["state"] != "ready":
        raise _not_ready_error(runtime)
    return str(runtime["url"])


def with_url(name: str, state: store.StateDir, environ: Mapping[str, str]) -> dict[str, Any]:
    """RUNTIME with its URL, which is valid but does not work now unless the state is ``ready``. Raises as ``url`` when
    the runtime is down or has no URL yet."""
    require_known_name(name, state, environ)
    runtime = read_status(state, name)
    if runtime["state"] in ("starting", "down") or not runtime["url"]:
        raise _not_ready_error(runtime)
    return fill_in_commands(runtime, state, environ)


def _not_ready_error(runtime: Mapping[str, Any]) -> LocalError:
    return LocalError(
        "not-up", f"{runtime['name']} is {runtime['state']}", runtime["why"], "`remote-runtime up PROFILE` starts it"
    )


def load_runtime(state: store.StateDir, name: str) -> Runtime:
    """The runtime of the state file; ``down`` if there is none, or with the reason why it can't be read."""
    nothing = Runtime(name=name, profile_path="", target={}, client_id="", state="down", unfinished=True)
    try:
        return store.load(state, name) or nothing
    except RemoteRuntimeError as error:
        return replace(nothing, why=str(error), last_error=error.as_dict())


def _down_reason(runtime: Runtime) -> str:
    if runtime.keeper_pid == 0 or runtime.state == "down":
        return runtime.why
    left = "some resources may be left" if runtime.unfinished else "Jupyter may still be running on the machine"
    return (
        f"the background process ended unexpectedly; {left}: "
        "`remote-runtime up PROFILE` reconnects, `remote-runtime down PROFILE` cleans up"
    )
