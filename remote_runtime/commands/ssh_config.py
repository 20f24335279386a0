"""`ssh-config`: lets OpenSSH's client, and all that runs it, connect to the machines of profiles."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.errors import UsageError
from ..core.profile import Profile
from ..profiles.search_path import find_profile
from .context import CommandContext
from .ssh_config_file import SshConfigFile
from .ssh_host import SshHost
from .ssh_stdio import host_alias, host_keys_path, require_ssh

PROGRAM = "remote-runtime"
# Not set where a desktop starts an editor.
OWN_VARIABLES = ("REMOTE_RUNTIME_PROFILES", "REMOTE_RUNTIME_CONFIG_DIR")


def config_entry(profile: Profile, context: CommandContext) -> dict[str, str]:
    """``{"name", "host", "config"}``: the entry of a profile as text. Raises ``RemoteRuntimeError``, also for a VM that
    does not run: its login name is not known."""
    host = ssh_host(profile, context)
    return {"name": profile.name, "host": host.alias, "config": host.text(windows=sys.platform == "win32")}


def install(entries: Sequence[Mapping[str, str]], environ: Mapping[str, str]) -> list[Path]:
    """Write what ``config_entry`` returned where OpenSSH finds it; the files that were changed. Raises ``LocalError``
    ``ssh-config-not-written``."""
    return config_file(environ).install({entry["host"]: entry["config"] for entry in entries})


def remove(names: Sequence[str], context: CommandContext) -> list[Path]:
    """Undo ``install`` for these names, or for all without names; the files that were changed or removed. Raises as
    ``install``."""
    changed = config_file(context.environ).remove([host_alias(name) for name in names])
    known = [host_keys_path(context.state, name) for name in names] or context.state.path.glob("*.hostkeys")
    for path in known:
        path.unlink(missing_ok=True)
    return changed


def config_file(environ: Mapping[str, str]) -> SshConfigFile:
    from ..ssh.files.paths import home_dir, local_username

    user, home = local_username(), home_dir(environ)
    ssh_home = Path(os.path.expanduser(f"~{user}")) if user and sys.platform != "win32" else home
    return SshConfigFile(home, ssh_home)


def ssh_host(profile: Profile, context: CommandContext) -> SshHost:
    """The entry of a profile: what another SSH client has to know beforehand. The rest is looked up at each connection.

    Raises ``RemoteRuntimeError`` where the login name is not known: a VM that does not run."""
    require_ssh(profile)
    name, state = profile.name, context.state
    from .ssh_access import find_login

    login = find_login(profile, context)
    variable = context.environ.get("REMOTE_RUNTIME_STATE_DIR")
    return SshHost(
        alias=host_alias(name),
        user=login.user,
        command=(*program(), "ssh", "--stdio", _reference(profile, context.environ)),
        known_hosts=str(host_keys_path(state, name)),
        keepalive_s=profile.ssh.keepalive_s,
        variables=(("REMOTE_RUNTIME_STATE_DIR", str(state.path)),) if variable else (),
        identity_files=login.identity_files,
        certificate_files=login.certificate_files,
        identities_only=login.identities_only,
        agent=login.agent,
    )


def program() -> list[str]:
    """The words that run this program from anywhere. The path in which it was called is kept: an upgrade may replace
    what it links to."""
    called = Path(sys.argv[0])
    name = f"{PROGRAM}.exe" if sys.platform == "win32" else PROGRAM
    for path in (called, Path(sys.executable).with_name(name)):
        if path.name == name and path.is_absolute() and path.is_file():
            return [str(path)]
    return [sys.executable, "-I", "-m", "remote_runtime"]


def _reference(profile: Profile, environ: Mapping[str, str]) -> str:
    """Its name if that finds it from any folder and without the shell's variables, else its absolute path."""
    path = profile.path.absolute()
    others = {name: value for name, value in environ.items() if name not in OWN_VARIABLES}
    with contextlib.suppress(UsageError, OSError):
        if os.path.samefile(find_profile(profile.name, others, Path(os.sep))[1], path):
            return profile.name
    return str(path)
