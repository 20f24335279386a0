"""Logins on a Compute Engine instance, and the public keys that this program installs there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from .fast_dataclass import fast_dataclass

AccessMethod = Literal["metadata", "os-login"]


@fast_dataclass(frozen=True)
class LoginIdentity:
    """``user``: the login name of the profile; ``local``: the user's name on this computer. ``keys``: the public keys,
    ``TYPE BASE64``, that can be presented to the SSH server."""

    user: str | None = None
    local: str = ""
    keys: tuple[str, ...] = ()


@fast_dataclass(frozen=True)
class LoginAccess:
    """The access that metadata or OS Login grants.

    ``user``: the login name, empty while there is none. ``keys``: those that it accepts. ``until``: when the last
    of them expires, seconds since 1970, None for never. ``two_factor``: each login asks for a 2FA code.
    """

    by: AccessMethod
    user: str = ""
    keys: tuple[str, ...] = ()
    until: float | None = None
    two_factor: bool = False


@fast_dataclass(frozen=True)
class SshServerAddress:
    """The SSH server of a machine at its ``address`` there, for connections from the machine itself. ``host_key``:
    ``TYPE BASE64``."""

    address: str
    port: int
    host_key: str


@fast_dataclass(frozen=True)
class InstalledKey:
    """A public key (``TYPE BASE64``) that was installed on an instance or in OS Login; it expires at ``until``, seconds
    since 1970. ``user``: the login name; for OS Login the account's e-mail address."""

    by: AccessMethod
    user: str
    key: str
    until: int
    instance: str
    id: str
    zone: str
    project: str


@fast_dataclass(frozen=True)
class AccessGrant:
    """``added``: the key that was installed, None if none had to be."""

    access: LoginAccess
    added: InstalledKey | None = None


def merge_keys(keys: Iterable[InstalledKey], more: Iterable[InstalledKey]) -> tuple[InstalledKey, ...]:
    return tuple(dict.fromkeys([*keys, *more]))
