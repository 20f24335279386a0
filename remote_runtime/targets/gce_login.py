"""Entering a Compute Engine instance: with a key that it knows, else with one that we put there first."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import compute, ssh
from ..core.access import AccessGrant, InstalledKey, LoginAccess, LoginIdentity
from ..core.callbacks import Progress, Prompt
from ..core.deadline import Deadline
from ..core.errors import CloudError, SshError, from_code
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance
from ..core.profile import SshSettings

if TYPE_CHECKING:
    from ..ssh import Session

# A key that is let in, by what we read, and is refused: the guest may not have heard of it yet.
PROPAGATION_S = 10.0
# An entry that ends so soon may end before the login does.
MIN_VALIDITY_S = 30.0


@fast_dataclass(frozen=True)
class LoginOptions:
    """``keys``: what was unlocked stays so. ``environ``: ours; ``cloud``: what Compute Engine's look-ups are given.
    ``lifetime_s``: how long a key that we add lives. ``reach``: what connects to the machine, None for an ordinary
    connection. ``added``: the keys that we added before. ``answers_within_s``,
    ``reconnect``: as ``ssh.connect`` takes them."""

    pins: Path
    keys: ssh.Keys
    environ: Mapping[str, str]
    cloud_environ: Mapping[str, str]
    settings: SshSettings
    lifetime_s: float
    connector: ssh.Connector | None = None
    installed_keys: tuple[InstalledKey, ...] = ()
    respond_within_s: float | None = None
    reconnect: bool = False


@fast_dataclass(frozen=True)
class KeyPolicy:
    """``may_add``: whether a key may be put on the machine. ``fresh``: whether one of ours that has lived half of its
    life is renewed. ``news``: is told what is about to be added (the instance as it was), and of the instance with its
    new access. ``reconnect``, ``answers_within_s``: as ``ssh.connect`` takes them."""

    on_change: Callable[[Instance, tuple[InstalledKey, ...]], None]
    may_install: bool = True
    fresh: bool = False
    reconnect: bool = False
    respond_within_s: float | None = None


def no_install(respond_within_s: float | None = None) -> KeyPolicy:
    """Nothing is put there."""
    return KeyPolicy(lambda instance, keys: None, may_install=False, respond_within_s=respond_within_s)


def login_identity(settings: SshSettings, environ: Mapping[str, str]) -> LoginIdentity:
    """Raises ``SshError`` ``no-usable-key`` for a key file that was asked for and cannot be used.

    The keys are looked through anew: a login that goes on meanwhile has a conversation of its own with the agent.
    """
    with contextlib.closing(ssh.Keys()) as keys:
        return LoginIdentity(settings.user, ssh.local_username(), keys.public_keys(settings, environ))


def connect(
    instance: Instance,
    options: LoginOptions,
    key_policy: KeyPolicy,
    *,
    prompt: Prompt,
    progress: Progress,
    deadline: Deadline,
) -> Session:
    """One login. Raises ``SshError``, and ``CloudError`` where a key is needed and cannot be added."""
    access = instance.access
    if access is None:
        raise ValueError("this is for instances whose access was looked up")

    def log_in(
        access: LoginAccess, accepted_keys: Sequence[str], *, added: bool, keep_trying_s: float | None = None
    ) -> Session:
        return ssh.connect(
            instance,
            replace(options.settings, user=access.user),
            pins=options.pins,
            keys=options.keys,
            prompt=prompt,
            progress=progress,
            deadline=deadline,
            environ=options.environ,
            accepted_keys=accepted_keys,
            connector=options.connector,
            key_just_added=added,
            keep_trying_s=keep_trying_s,
            respond_within_s=options.respond_within_s,
            reconnect=options.reconnect,
        )

    refused: SshError | None = None
    is_expired = _remaining_s(access) < min(MIN_VALIDITY_S, options.lifetime_s / 4)
    if key_policy.may_install and key_policy.fresh and not is_expired:
        access = renew_key(instance, access, options, key_policy, progress, deadline)
    if access.user and not is_expired:
        try:
            return log_in(access, access.keys, added=False)
        except SshError as error:
            if error.code != "no-usable-key":
                raise
            refused = error
    if not key_policy.may_install:
        raise _no_key_error(instance, refused)
    grant = _install_key(instance, options, key_policy, progress, deadline, refused, renew=key_policy.fresh)
    keep_trying_s = None if grant.added else PROPAGATION_S
    return log_in(grant.access, grant.access.keys, added=True, keep_trying_s=keep_trying_s)


def renew_key(
    instance: Instance,
    access: LoginAccess,
    options: LoginOptions,
    key_policy: KeyPolicy,
    progress: Progress,
    deadline: Deadline,
) -> LoginAccess:
    """With a key that has lived less than half of its life. ``access`` as it is where it cannot be renewed: what lets
    us in now still does."""
    if _remaining_s(access) >= options.lifetime_s / 2:
        return access
    try:
        return _install_key(instance, options, key_policy, progress, deadline, None, renew=True).access
    except (CloudError, SshError) as error:
        progress(f"The key on {instance.name} cannot be renewed: {error}")
        return access


def _install_key(
    instance: Instance,
    options: LoginOptions,
    key_policy: KeyPolicy,
    progress: Progress,
    deadline: Deadline,
    refused: SshError | None,
    *,
    renew: bool,
) -> AccessGrant:
    key = options.keys.key_to_install(options.settings, options.environ, progress)
    progress(f"Putting a key on {instance.name}")

    def before_write(new: InstalledKey) -> None:
        key_policy.on_change(instance, (*options.installed_keys, new))

    try:
        grant = compute.grant_access(
            instance,
            login_identity(options.settings, options.environ),
            key,
            lifetime_s=options.lifetime_s,
            previous_keys=options.installed_keys,
            renew=renew,
            before_write=before_write,
            progress=progress,
            deadline=deadline,
            environ=options.cloud_environ,
        )
    except CloudError as error:
        if refused is None:
            raise
        what = f"{instance.name} knows none of our keys, and none could be added: {error.what}"
        raise from_code(error.code, what, error.why, error.hint) from error
    entered = replace(instance, access=grant.access)
    key_policy.on_change(entered, _replace_key(options.installed_keys, grant.added))
    return grant


def _remaining_s(access: LoginAccess) -> float:
    return float("inf") if access.until is None else access.until - time.time()


def _replace_key(former: tuple[InstalledKey, ...], new: InstalledKey | None) -> tuple[InstalledKey, ...]:
    """Without those that the new one has replaced."""
    if new is None:
        return former
    return (*(each for each in former if (each.by, each.id) != (new.by, new.id)), new)


def _no_key_error(instance: Instance, refused: SshError | None) -> SshError:
    what = f"{instance.name} knows none of our keys yet"
    return SshError("no-usable-key", what, refused.why if refused else "", "`remote-runtime up` puts one there")
