"""`status --all-machines` and `down --orphans`: servers on the machines that belong to no runtime here."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from .. import profiles
from ..core.errors import LocalError, RemoteRuntimeError
from ..core.profile import Profile
from ..jupyter import server
from ..state import store
from . import ssh
from .context import CommandContext, View
from .profile_reference import load_profile


def profiles_with_machines(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The files, by name, of the usable profiles with a machine, and the names of those left out. Packaged profiles are
    templates, and demo machines end with their runtime. Profiles in ``./profiles`` are left out: they name a program to
    run as Python, and a cloned repository's profiles were not chosen by the user."""
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
    """The result of ``list_servers`` for a profile that is left out."""
    why = (
        f"its profile is in ./profiles, which may be anybody's: `remote-runtime status {name} --all-machines` connects"
    )
    return {"profile": name, "servers": [], "why": why}


def list_servers(reference: str, context: CommandContext) -> dict[str, Any]:
    """``{"profile", "servers": [{"key", "pid", "since", "runtime"}], "why"}``: servers on the profile's machine.
    ``runtime``: the name of the runtime here that owns the server, None for an orphan. ``why``: why the machine could
    not be reached, else empty. Starts no machine."""
    name = profiles.name_of(reference)
    try:
        profile = load_profile(reference, context)
        with closing(ssh.connect(profile, context)) as session:
            running = server.list_servers(
                session.run, profile.jupyter, deadline=context.deadline(profile.timeouts.jupyter_s)
            )
    except RemoteRuntimeError as error:
        context.view.done(name)
        return {"profile": name, "servers": [], "why": str(error)}
    context.view.done(name)
    owners = _runtimes_by_server_key(context.state)
    servers = [
        {"key": each.key, "pid": each.pid, "since": each.since, "runtime": owners.get(each.key)} for each in running
    ]
    return {"profile": name, "servers": servers, "why": ""}


def stop_orphans(reference: str, context: CommandContext, *, force: bool) -> list[str]:
    """Returns the keys of the stopped servers. Raises ``LocalError`` ``busy`` unless confirmed: they may be another
    computer's, with kernels at work. Login keys that an `up` from here installed are removed too; those of another
    computer expire."""
    profile = load_profile(reference, context)
    name, state, timeout_s = profile.name, context.state, profile.timeouts.jupyter_s
    keys_before = store.load_last_run(state, name).keys
    with closing(ssh.connect(profile, context)) as session:
        owners = _runtimes_by_server_key(state)
        running = server.list_servers(session.run, profile.jupyter, deadline=context.deadline(timeout_s))
        orphans = [each for each in running if each.key not in owners]
        if orphans and not force:
            _confirm_orphans(profile, [f"{each.key} (since {each.since})" for each in orphans], context.view)
        for orphan in orphans:
            context.view.step(name, f"Stopping {orphan.key}")
            spec = server.ServerSpec(*orphan.key.rpartition("-")[::2], profile.jupyter, profile.colab.origins)
            server.stop(session.run, spec, deadline=context.deadline(timeout_s))
    new_keys = tuple(key for key in store.load_last_run(state, name).keys if key not in keys_before)
    ssh.remove_keys(name, new_keys, context)
    for orphan in orphans:
        owner, _, client_id = orphan.key.rpartition("-")
        last_run = store.load_last_run(state, owner)
        if last_run.client_id == client_id:
            ssh.remove_keys(owner, last_run.keys, context)
    context.view.done(name)
    return [each.key for each in orphans]


def _runtimes_by_server_key(state: store.StateDir) -> dict[str, str]:
    """The runtime's name by the key of its server, for all runtimes here."""
    runtimes = (store.load_if_readable(state, name) for name in store.list_names(state))
    return {f"{runtime.name}-{runtime.client_id}": runtime.name for runtime in runtimes if runtime is not None}


def _confirm_orphans(profile: Profile, orphans: list[str], view: View) -> None:
    listed = ", ".join(orphans)
    if not view.interactive:
        what = f"Jupyter servers of {profile.name} may belong to another computer"
        hint = "Run `remote-runtime down PROFILE --orphans --force` to stop them and their kernels"
        raise LocalError("busy", what, listed, hint)
    if not view.confirm(profile.name, f"Stop {listed} with all kernels? Another computer may use them."):
        raise LocalError("busy", "Stopped nothing", listed)
