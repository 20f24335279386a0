"""`ssh` and `host-key`: connects to a profile's machine with the keys and host key checks of `up`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .. import compute, ssh
from ..core.access import InstalledKey, LoginAccess
from ..core.callbacks import RunCommand
from ..core.deadline import Deadline
from ..core.errors import LocalError
from ..core.model import Instance
from ..core.profile import Profile
from ..state import store
from ..targets import FindOptions, KeyPolicy, LoginOptions, Target, TargetSession, open_target
from .context import CommandContext

COMMAND_TIMEOUT_S = 86400.0
KEY_REMOVAL_TIMEOUT_S = 150.0


def connect(profile: Profile, context: CommandContext) -> TargetSession:
    """Open an SSH connection to the profile's machine. Raises ``RemoteRuntimeError``."""
    target = open_target(profile, context.state, context.environ, ssh.Keys())
    deadline = context.deadline(profile.timeouts.instance_s + profile.timeouts.ssh_s)
    return log_in(target, find_instance(target, context, deadline), context, deadline)


def log_in(
    target: Target,
    instance: Instance,
    context: CommandContext,
    deadline: Deadline,
    on_key: Callable[[LoginAccess], None] = lambda access: None,
) -> TargetSession:
    """``on_key`` is called when a key was installed on the machine. Raises as ``Target.connect``."""
    name, state, view = target.profile.name, context.state, context.view
    view.step(name, f"Connecting to {instance.name}")
    ssh_deadline = deadline.within(target.profile.timeouts.ssh_s)
    last_run = store.load_last_run(state, name)

    def save_keys(keys: tuple[InstalledKey, ...]) -> None:
        store.save_last_run(state, name, replace(last_run, keys=keys))

    def after_install(access: LoginAccess, keys: tuple[InstalledKey, ...]) -> None:
        save_keys(keys)
        on_key(access)

    key_policy = KeyPolicy(save_keys, after_install)
    options = LoginOptions(context.progress(name), ssh_deadline, context.prompt(name), last_run.keys, key_policy)
    session = target.connect(instance, options)
    view.done(name)
    return session


def remove_keys(name: str, keys: tuple[InstalledKey, ...], context: CommandContext) -> None:
    """Remove ``keys`` from the machine and from the last run of ``name``. Raises ``CloudError``, ``DeadlinePassed``."""
    if not keys:
        return
    state = context.state
    context.view.step(name, "Removing the SSH key")
    deadline = Deadline(KEY_REMOVAL_TIMEOUT_S)  # Ctrl-C does not interrupt it
    compute.revoke_access(keys, progress=context.progress(name), deadline=deadline, environ=context.environ)
    last_run = store.load_last_run(state, name)
    store.save_last_run(state, name, replace(last_run, keys=tuple(key for key in last_run.keys if key not in keys)))


def run_command(line: str, run: RunCommand, cancelled: threading.Event) -> dict[str, Any]:
    """Run a command in the login shell with empty stdin; return ``{"status", "stdout", "stderr"}``. ``status`` is None
    if the connection was lost; ``stderr``: the last 8 KiB. Raises ``RemoteRuntimeError`` above 16 MiB or a day."""
    lines: list[str] = []
    command = ["sh", "-c", 'exec "${SHELL:-sh}" -c "$0"', line]
    outcome = run(command, stdin=b"", on_line=lines.append, deadline=Deadline(COMMAND_TIMEOUT_S, cancelled))
    return {"status": outcome.status, "stdout": "".join(f"{text}\n" for text in lines), "stderr": outcome.stderr}


def pinned_host_keys(profile: Profile, context: CommandContext, *, forget: bool) -> dict[str, Any]:
    """``{"name", "host", "pins": [{"type", "fingerprint"}], "forgotten": n}``."""
    known_hosts = context.state.known_hosts
    host = _host_key_name(profile, context)
    pinned = ssh.pinned_keys(known_hosts, host)
    forgotten = ssh.unpin(known_hosts, host) if forget else 0
    return {
        "name": profile.name,
        "host": host,
        "pins": [{"type": kind, "fingerprint": fingerprint} for kind, fingerprint in pinned],
        "forgotten": forgotten,
    }


def find_instance(target: Target, context: CommandContext, deadline: Deadline) -> Instance:
    """The one of the running runtime, else as ``Target.find``."""
    return _running_instance(target.profile, context.state) or _find_instance(target, context, deadline)


def _running_instance(profile: Profile, state: store.StateDir) -> Instance | None:
    """The instance of a running runtime, which saves a look-up."""
    if not store.is_alive(state, profile.name):
        return None
    runtime = store.load_if_readable(state, profile.name)
    return runtime.instance if runtime and runtime.instance and runtime.instance.status == "RUNNING" else None


def _find_instance(target: Target, context: CommandContext, deadline: Deadline) -> Instance:
    profile = target.profile
    if not target.exists():
        raise LocalError(
            "not-up",
            "The demo VM is not running",
            "it runs only while its runtime does",
            "`remote-runtime up PROFILE` starts it",
        )
    context.view.step(profile.name, f"Finding {profile.name}")
    return target.find(FindOptions(context.progress(profile.name), deadline))


def _host_key_name(profile: Profile, context: CommandContext) -> str:
    runtime = store.load_if_readable(context.state, profile.name)
    if runtime is not None and runtime.instance is not None and runtime.instance.host_key_name:
        return runtime.instance.host_key_name
    target = open_target(profile, context.state, context.environ, ssh.Keys())
    instance = _find_instance(target, context, context.deadline(profile.timeouts.instance_s))
    context.view.done(profile.name)
    return instance.host_key_name
