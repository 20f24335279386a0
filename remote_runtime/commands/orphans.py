"""`status --all-machines` and `down --orphans`: servers of ours on the machines that no runtime here knows."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from .. import profiles
from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError
from ..core.model import Profile
from ..jupyter import server
from ..state import store
from . import ssh
from .profile_reference import profile_reference
from .ui import View


def profiles_with_machines(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The files, by name, of the profiles that can be used and name a machine; and the names of those left out.

    The ready ones are there to be copied, and a demo machine ends with its runtime. Left out are those of
    ``./profiles``: a profile names the program that is run as Python, and who looks in a cloned repository has not
    chosen its profiles.
    """
    found = [each for each in profiles.list_profiles(environ) if each.problem is None and not each.shadowed]
    files, left_out = {}, []
    for each in found:
        kind = profiles.load(str(each.path), environ=environ).target.kind
        if kind == "demo" or (kind != "local" and each.origin == "packaged"):
            continue
        if each.origin == "directory":
            left_out.append(each.name)
        else:
            files[each.name] = str(each.path)
    return files, left_out


def not_checked(name: str) -> dict[str, Any]:
    """What ``look`` would answer, of a profile that is left out."""
    why = (
        f"its profile is in ./profiles, which may be anybody's: `remote-runtime status {name} --all-machines` connects"
    )
    return {"profile": name, "servers": [], "why": why}


def list_servers(
    reference: str, *, state: store.StateDir, environ: Mapping[str, str], view: View, called_off: threading.Event
) -> dict[str, Any]:
    """``{"profile", "servers": [{"key", "pid", "since", "runtime"}], "why"}``: what runs on the profile's machine.

    ``runtime``: the name of the runtime here that the server belongs to, None for an orphan. ``why``: why the machine
    could not be entered, empty if it could. Starts no machine.
    """
    name = profiles.name_of(reference)
    try:
        profile = profiles.load(profile_reference(reference, state, environ), environ=environ)
        with closing(ssh.connect(reference, state=state, environ=environ, view=view, called_off=called_off)) as session:
            running = server.list_servers(
                session.run, profile.jupyter, deadline=Deadline(profile.timeouts.jupyter_s, called_off)
            )
    except RemoteRuntimeError as error:
        view.done(name)
        return {"profile": name, "servers": [], "why": str(error)}
    view.done(name)
    owners = _runtimes_by_server_key(state)
    servers = [
        {"key": each.key, "pid": each.pid, "since": each.since, "runtime": owners.get(each.key)} for each in running
    ]
    return {"profile": name, "servers": servers, "why": ""}


def stop_orphans(
    reference: str,
    *,
    force: bool,
    state: store.StateDir,
    environ: Mapping[str, str],
    view: View,
    called_off: threading.Event,
) -> list[str]:
    """The keys of the servers that were ended. Raises ``LocalError`` ``busy`` when nobody says yes to it: they may be
    another computer's, with kernels at work.

    What an `up` from here had put on the machine to get in goes with its server; another computer's ends by itself.
    """
    profile = profiles.load(profile_reference(reference, state, environ), environ=environ)
    name = profile.name
    keys_before = store.load_last_run(state, name).keys
    with closing(ssh.connect(reference, state=state, environ=environ, view=view, called_off=called_off)) as session:
        owners = _runtimes_by_server_key(state)
        running = server.list_servers(
            session.run, profile.jupyter, deadline=Deadline(profile.timeouts.jupyter_s, called_off)
        )
        orphans = [each for each in running if each.key not in owners]
        if orphans and not force:
            _confirm_orphans(profile, [f"{each.key} (since {each.since})" for each in orphans], view)
        for orphan in orphans:
            view.step(name, f"Stopping {orphan.key}")
            wanted = server.ServerSpec(*orphan.key.rpartition("-")[::2], profile.jupyter, profile.colab.origins)
            server.stop(session.run, wanted, deadline=Deadline(profile.timeouts.jupyter_s, called_off))
    new_keys = tuple(key for key in store.load_last_run(state, name).keys if key not in keys_before)
    ssh.remove_keys(name, new_keys, state, environ, view)
    for orphan in orphans:
        owner, _, client_id = orphan.key.rpartition("-")
        last_run = store.load_last_run(state, owner)
        if last_run.client_id == client_id:
            ssh.remove_keys(owner, last_run.keys, state, environ, view)
    view.done(name)
    return [each.key for each in orphans]


def _runtimes_by_server_key(state: store.StateDir) -> dict[str, str]:
    """The server's key of each runtime here, up or left behind → its name."""
    owners = {}
    for name in store.list_names(state):
        try:
            runtime = store.load(state, name)
        except RemoteRuntimeError:
            continue
        if runtime is not None:
            owners[f"{runtime.name}-{runtime.client_id}"] = name
    return owners


def _confirm_orphans(profile: Profile, orphans: list[str], view: View) -> None:
    listed = ", ".join(orphans)
    if not view.interactive:
        what = f"Servers on the machine of {profile.name} may be another computer's"
        raise LocalError("busy", what, listed, "--force ends them with their kernels")
    if not view.confirm(profile.name, f"End {listed} with all kernels? Another computer may use them."):
        raise LocalError("busy", "Nothing was ended", listed)
