"""`ssh` and `host-key`: the machine of a profile, entered with the same keys and host key as `up` does."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .. import compute, profiles, ssh
from ..core.access import AddedKey
from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError, from_code
from ..core.model import Instance, Profile
from ..state import store
from ..targets.gce import Machines, Session
from ..targets.gce_login import Wish
from .profile_reference import reference_of
from .ui import View

DAY_S = 86400.0
KEYS_S = 150.0


def enter(
    reference: str,
    *,
    state: store.StateDir,
    environ: Mapping[str, str],
    view: View,
    called_off: threading.Event,
) -> Session:
    """A connection of its own to the profile's machine. Raises ``RemoteRuntimeError``."""
    profile = profiles.load(reference_of(reference, state, environ), environ=environ)
    name = profile.name
    machines = Machines(state, environ, ssh.Keys())
    deadline = Deadline(profile.timeouts.instance_s + profile.timeouts.ssh_s, called_off)

    def tell(text: str) -> None:
        view.detail(name, text)

    def ask(prompt: str, *, secret: bool, code: str) -> str:
        try:
            return view.ask(name, prompt, secret=secret)
        except EOFError as error:
            raise from_code(code, f"An answer is needed: {prompt}", "no terminal is there to ask on") from error

    instance = _known(profile, state) or _found(profile, machines, view, deadline)
    view.step(name, f"Connecting to {instance.name}")
    within = deadline.shorter(profile.timeouts.ssh_s)
    known = store.remembered(state, name)

    def added(_: Instance, keys: tuple[AddedKey, ...]) -> None:
        store.remember(state, name, replace(known, keys=keys))

    session = machines.connect(
        profile, instance, ask=ask, tell=tell, deadline=within, added=known.keys, wish=Wish(added)
    )
    view.done(name)
    return session


def take_keys_away(
    name: str, keys: tuple[AddedKey, ...], state: store.StateDir, environ: Mapping[str, str], view: View
) -> None:
    """Those of the keys that are remembered of this name. Raises ``CloudError``, ``DeadlinePassed``."""
    if not keys:
        return
    view.step(name, "Taking our key away")
    compute.withdraw(keys, tell=lambda text: view.detail(name, text), deadline=Deadline(KEYS_S), environ=environ)
    known = store.remembered(state, name)
    store.remember(state, name, replace(known, keys=tuple(key for key in known.keys if key not in keys)))


def carry_out(line: str, session: Session, called_off: threading.Event) -> dict[str, Any]:
    """``{"status", "stdout", "stderr"}`` of a command that the login's own shell reads; its stdin is empty.

    ``status`` is None if the connection was lost first; ``stderr``: the last 8 KiB. Raises ``RemoteRuntimeError``: over
    16 MiB, or a day.
    """
    lines: list[str] = []
    in_its_shell = ["sh", "-c", 'exec "${SHELL:-sh}" -c "$0"', line]
    ended = session.run(in_its_shell, stdin=b"", on_line=lines.append, deadline=Deadline(DAY_S, called_off))
    return {"status": ended.status, "stdout": "".join(f"{text}\n" for text in lines), "stderr": ended.stderr}


def pins(
    reference: str, *, forget: bool, state: store.StateDir, environ: Mapping[str, str], view: View
) -> dict[str, Any]:
    """``{"name", "host", "pins": [{"type", "fingerprint"}], "forgotten": n}``."""
    profile = profiles.load(reference_of(reference, state, environ), environ=environ)
    host = _host_key_name(profile, state, environ, view)
    shown = ssh.show_pins(state.pins, host)
    forgotten = ssh.forget_pins(state.pins, host) if forget else 0
    return {
        "name": profile.name,
        "host": host,
        "pins": [{"type": kind, "fingerprint": fingerprint} for kind, fingerprint in shown],
        "forgotten": forgotten,
    }


def _known(profile: Profile, state: store.StateDir) -> Instance | None:
    """The instance of a runtime that is up: no look-up is needed."""
    if not store.is_alive(state, profile.name):
        return None
    try:
        runtime = store.load(state, profile.name)
    except RemoteRuntimeError:
        return None
    return runtime.instance if runtime and runtime.instance and runtime.instance.status == "RUNNING" else None


def _found(profile: Profile, machines: Machines, view: View, deadline: Deadline) -> Instance:
    if not machines.is_there(profile):
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
        tell=lambda text: view.detail(profile.name, text),
        deadline=deadline,
        started=lambda instance: None,
    )


def _host_key_name(profile: Profile, state: store.StateDir, environ: Mapping[str, str], view: View) -> str:
    try:
        runtime = store.load(state, profile.name)
    except RemoteRuntimeError:
        runtime = None
    if runtime is not None and runtime.instance is not None and runtime.instance.host_key_name:
        return runtime.instance.host_key_name
    machines = Machines(state, environ, ssh.Keys())
    instance = _found(profile, machines, view, Deadline(profile.timeouts.instance_s))
    view.done(profile.name)
    return instance.host_key_name
