"""Log in to a Compute Engine instance: with a key that it accepts, or with one that is installed first."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from .. import compute, ssh
from ..core.access import AccessGrant, InstalledKey, LoginAccess, LoginIdentity
from ..core.errors import CloudError, SshError, from_code
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance
from ..core.profile import SshSettings
from .base import KeyPolicy, LoginOptions

if TYPE_CHECKING:
    from ..ssh import Session

# The metadata lists a key that the instance refuses: its guest agent might not have read it yet.
PROPAGATION_S = 10.0
# A key that expires so soon may expire before the login is over.
MIN_VALIDITY_S = 30.0


class LogIn(Protocol):
    """``ssh.connect`` with all else that it needs."""

    def __call__(
        self,
        settings: SshSettings,
        *,
        accepted_keys: Sequence[str],
        key_just_added: bool = ...,
        keep_trying_s: float | None = ...,
    ) -> Session: ...


def login_identity(settings: SshSettings, environ: Mapping[str, str]) -> LoginIdentity:
    """The login name and the public keys to look up access for.

    The keys are read again: a login at the same time has its own connection to the agent. Raises ``SshError``
    ``no-usable-key`` for a configured key file that cannot be used.
    """
    with contextlib.closing(ssh.Keys()) as keys:
        return LoginIdentity(settings.user, ssh.local_username(), keys.public_keys(settings, environ))


@fast_dataclass(frozen=True)
class GceLogin:
    """One login. ``environ``: this process's; ``worker_environ``: of the process that calls Google's API."""

    instance: Instance
    options: LoginOptions
    settings: SshSettings
    keys: ssh.Keys
    environ: Mapping[str, str]
    worker_environ: Mapping[str, str]

    def connect(self, access: LoginAccess, log_in: LogIn) -> Session:
        """Raises ``SshError``, and ``CloudError`` where a key is needed and cannot be installed."""
        refused, key_policy = None, self.options.key_policy
        is_expired = _remaining_s(access) < min(MIN_VALIDITY_S, self.settings.key_lifetime_s / 4)
        if key_policy is not None and key_policy.renew and not is_expired:
            access = self.renew_key(access)
        if access.user and not is_expired:
            try:
                return log_in(replace(self.settings, user=access.user), accepted_keys=access.keys)
            except SshError as error:
                if error.code != "no-usable-key":
                    raise
                refused = error
        if key_policy is None:
            raise self._no_key_error(refused)
        try:
            grant = self._install_key(key_policy, renew=key_policy.renew)
        except CloudError as error:
            if refused is None:
                raise
            what = f"{self.instance.name} rejects your SSH keys, and none could be added: {error.what}"
            raise from_code(error.code, what, error.why, error.hint) from error
        return log_in(
            replace(self.settings, user=grant.access.user),
            accepted_keys=grant.access.keys,
            key_just_added=True,
            keep_trying_s=None if grant.added else PROPAGATION_S,
        )

    def renew_key(self, access: LoginAccess) -> LoginAccess:
        """Access with a new key if less than half of the lifetime remains; ``access`` where none can be installed, as
        it is still valid."""
        key_policy = self.options.key_policy
        if key_policy is None or _remaining_s(access) >= self.settings.key_lifetime_s / 2:
            return access
        try:
            return self._install_key(key_policy, renew=True).access
        except (CloudError, SshError) as error:
            self.options.progress(f"The SSH key on {self.instance.name} could not be renewed: {error}")
            return access

    def _install_key(self, key_policy: KeyPolicy, *, renew: bool) -> AccessGrant:
        key = self.keys.key_to_install(self.settings, self.environ, self.options.progress)
        self.options.progress(f"Adding an SSH key to {self.instance.name}")
        grant = compute.grant_access(
            self.instance,
            login_identity(self.settings, self.environ),
            key,
            lifetime_s=self.settings.key_lifetime_s,
            previous_keys=self.options.installed_keys,
            renew=renew,
            before_write=lambda new: key_policy.before_install((*self.options.installed_keys, new)),
            progress=self.options.progress,
            deadline=self.options.deadline,
            environ=self.worker_environ,
        )
        key_policy.after_install(grant.access, _replace_key(self.options.installed_keys, grant.added))
        return grant

    def _no_key_error(self, refused: SshError | None) -> SshError:
        what = f"{self.instance.name} rejects your SSH keys"
        return SshError("no-usable-key", what, refused.why if refused else "", "`remote-runtime up PROFILE` adds one")


def _remaining_s(access: LoginAccess) -> float:
    return float("inf") if access.until is None else access.until - time.time()


def _replace_key(former: tuple[InstalledKey, ...], new: InstalledKey | None) -> tuple[InstalledKey, ...]:
    """``former`` with ``new``, without the key that it replaced."""
    if new is None:
        return former
    return (*(each for each in former if (each.by, each.id) != (new.by, new.id)), new)
