"""What another SSH client needs: a connection to the machine's SSH port, a key that is valid there, a login name."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from .. import ssh
from ..core import file_lock
from ..core.access import LoginAccess
from ..core.deadline import Deadline
from ..core.errors import CloudError, SshError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance
from ..core.profile import Profile
from ..targets import LoginOptions, Target, open_target
from .context import CommandContext
from .ssh import find_instance, log_in

MIN_VALIDITY_S = 30.0


@fast_dataclass(frozen=True)
class SshLogin:
    """``identity_files``, ``certificate_files``: absolute paths. ``agent``: the value of IdentityAgent, or empty."""

    user: str
    identity_files: tuple[str, ...]
    identities_only: bool
    certificate_files: tuple[str, ...] = ()
    agent: str = ""


def open_ssh_port(profile: Profile, context: CommandContext) -> ssh.SshPort:
    """A connection to the SSH port of the profile's machine, by the route of `up`. Where Compute Engine knows no valid
    key of this computer, a login installs one before. Raises ``RemoteRuntimeError``."""
    target, deadline = _open(profile, context)
    instance = _with_valid_key(target, context, deadline)
    context.view.step(profile.name, f"Connecting to {instance.name}")
    within = deadline.within(profile.timeouts.ssh_s)
    options = LoginOptions(context.progress(profile.name), within, context.prompt(profile.name))
    port = target.open_ssh_port(instance, options)
    context.view.done(profile.name)
    return port


def find_login(profile: Profile, context: CommandContext) -> SshLogin:
    """How another SSH client logs in. For a VM it is looked up, and a key is installed if none is valid; one that does
    not run needs ``ssh.user`` in the profile. Raises ``RemoteRuntimeError``."""
    target, deadline = _open(profile, context)
    try:
        instance = _with_valid_key(target, context, deadline)
    except CloudError as error:
        if error.code != "instance-stopped" or not profile.ssh.user:
            raise
        instance = Instance("gce", profile.name, access=LoginAccess("metadata"))
    settings = target.ssh_settings(instance, deadline)
    context.view.done(profile.name)
    user = settings.user or ssh.local_username()
    if not user:
        why = "this computer has no user name for your account"
        raise SshError("ssh-config-unsupported", "No login name", why, "Set `ssh.user`")
    if instance.access is None:
        files = ssh.named_files(settings, context.environ)
        is_own = settings.identity_file is not None
        certificates, agent = settings.certificate_files, settings.identity_agent or ""
        return SshLogin(user, files, is_own or settings.identities_only, certificates, agent)
    with contextlib.closing(ssh.Keys()) as keys:
        files = ssh.accepted_files(keys, settings, context.environ, instance.access.keys)
    is_known = bool(instance.access.keys) or settings.identity_file is not None
    return SshLogin(user, files, bool(files) and is_known)


def _open(profile: Profile, context: CommandContext) -> tuple[Target, Deadline]:
    target = open_target(profile, context.state, context.environ, ssh.Keys())
    return target, context.deadline(profile.timeouts.instance_s + profile.timeouts.ssh_s)


def _with_valid_key(target: Target, context: CommandContext, deadline: Deadline) -> Instance:
    """The machine. A key that is installed is accepted by the machine afterwards."""
    instance = find_instance(target, context, deadline)
    if not _needs_key(instance.access):
        return instance
    installed: list[LoginAccess] = []
    with file_lock.locked(context.state.file_path(target.profile.name, "login"), deadline):
        try:
            log_in(target, instance, context, deadline, installed.append).close()
        except SshError as error:
            if error.code != "two-factor-needed":  # it has accepted the key
                raise
    return replace(instance, access=installed[-1]) if installed else instance


def _needs_key(access: LoginAccess | None) -> bool:
    if access is None:
        return False
    is_expiring = access.until is not None and access.until - time.time() < MIN_VALIDITY_S
    return is_expiring or not (access.user and access.keys)
