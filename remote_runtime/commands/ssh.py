"""`ssh` and `host-key`: the machine of a profile, entered with the same keys and host key as `up` does."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .. import compute, profiles, ssh
from ..core.access import InstalledKey
from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError, from_code
from ..core.model import Instance, Profile
from ..state import store
from ..targets.gce import Machines, TargetSession
from ..targets.gce_login import KeyPolicy
from .profile_reference import profile_reference
from .ui import View

COMMAND_TIMEOUT_S = 86400.0
KEY_REMOVAL_TIMEOUT_S = 150.0


def connect(
    reference: str,
    *,
    state: store.StateDir,
    environ: Mapping[str, str],
    view: View,
    called_off: threading.Event,
) -> TargetSession:
    """A connection of its own to the profile's machine. Raises ``RemoteRuntimeError``."""
    profile = profiles.load(profile_reference(reference, state, environ), environ=environ)
    name = profile.name
    machines = Machines(state, environ, ssh.Keys())
    deadline = Deadline(profile.timeouts.instance_s + profile.timeouts.ssh_s, called_off)

    def progress(text: str) -> None:
        view.detail(name, text)

    def ask(prompt: str, *, secret: bool, code: str) -> str:
        try:
            return view.ask(name, prompt, secret=secret)
        except EOFError as error:
            raise from_code(code, f"An answer is needed: {prompt}", "no terminal is there to ask on") from error

    instance = _running_instance(profile, state) or _find_instance(profile, machines, view, deadline)
    view.step(name, f"Connecting to {instance.name}")
    ssh_deadline = deadline.within(profile.timeouts.ssh_s)
    last_run = store.load_last_run(state, name)

    def save_keys(_: Instance, keys: tuple[InstalledKey, ...]) -> None:
        store.save_last_run(state, name, replace(last_run, keys=keys))

    session = machines.connect(
        profile,
        instance,
        prompt=ask,
        progress=progress,
        deadline=ssh_deadline,
        installed_keys=last_run.keys,
        key_policy=KeyPolicy(save_keys),
    )
    view.done(name)
    return session


def remove_keys(
    name: str, keys: tuple[InstalledKey, ...], state: store.StateDir, environ: Mapping[str, str], view: View
) -> None:
    """Those of the keys that are remembered of this name. Raises ``CloudError``, ``DeadlinePassed``."""
    if not keys:
        return
    view.step(name, "Taking our key away")
    compute.revoke_access(
        keys, progress=lambda text: view.detail(name, text), deadline=Deadline(KEY_REMOVAL_TIMEOUT_S), environ=environ
    )
    last_run = store.load_last_run(state, name)
    store.save_last_run(state, name, replace(last_run, keys=tuple(key for key in last_run.keys if key not in keys)))


def run_command(line: str, session: TargetSession, cancelled: threading.Event) -> dict[str, Any]:
    """``{"status", "stdout", "stderr"}`` of a command that the login's own shell reads; its stdin is empty.

    ``status`` is None if the connection was lost first; ``stderr``: the last 8 KiB. Raises ``RemoteRuntimeError``: over
    16 MiB, or a day.
    """
    lines: list[str] = []
    command = ["sh", "-c", 'exec "${SHELL:-sh}" -c "$0"', line]
    outcome = session.run(command, stdin=b"", on_line=lines.append, deadline=Deadline(COMMAND_TIMEOUT_S, cancelled))
    return {"status": outcome.status, "stdout": "".join(f"{text}\n" for text in lines), "stderr": outcome.stderr}


def pinned_host_keys(
    reference: str, *, forget: bool, state: store.StateDir, environ: Mapping[str, str], view: View
) -> dict[str, Any]:
    """``{"name", "host", "pins": [{"type", "fingerprint"}], "forgotten": n}``."""
    profile = profiles.load(profile_reference(reference, state, environ), environ=environ)
    host = _host_key_name(profile, state, environ, view)
    pinned = ssh.pinned_keys(state.known_hosts, host)
    forgotten = ssh.unpin(state.known_hosts, host) if forget else 0
    return {
        "name": profile.name,
        "host": host,
        "pins": [{"type": kind, "fingerprint": fingerprint} for kind, fingerprint in pinned],
        "forgotten": forgotten,
    }


def _running_instance(profile: Profile, state: store.StateDir) -> Instance | None:
    """The instance of a runtime that is up: no look-up is needed."""
    if not store.is_alive(state, profile.name):
        return None
    try:
        runtime = store.load(state, profile.name)
    except RemoteRuntimeError:
        return None
    return runtime.instance if runtime and runtime.instance and runtime.instance.status == "RUNNING" else None


def _find_instance(profile: Profile, machines: Machines, view: View, deadline: Deadline) -> Instance:
    if not machines.exists(profile):
        raise LocalError(
            "not-up",
            "The demo machine does not run",
            "it lives only while its runtime is up",
            f"`remote-runtime up {profile.name}` starts it",
        )
    view.step(profile.name, "Finding the machine")
    return machines.find(
        profile,
        start=False,
        progress=lambda text: view.detail(profile.name, text),
        deadline=deadline,
        on_start=lambda instance: None,
    )


def _host_key_name(profile: Profile, state: store.StateDir, environ: Mapping[str, str], view: View) -> str:
    try:
        runtime = store.load(state, profile.name)
    except RemoteRuntimeError:
        runtime = None
    if runtime is not None and runtime.instance is not None and runtime.instance.host_key_name:
        return runtime.instance.host_key_name
    machines = Machines(state, environ, ssh.Keys())
    instance = _find_instance(profile, machines, view, Deadline(profile.timeouts.instance_s))
    view.done(profile.name)
    return instance.host_key_name
