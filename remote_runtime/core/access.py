"""Who may enter a Compute Engine instance, and the keys that we put there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from .fast_dataclass import fast_dataclass

AccessMethod = Literal["metadata", "os-login"]


@fast_dataclass(frozen=True)
class LoginIdentity:
    """Who wants to enter. ``user``: the login name that was asked for; ``local``: the name on this computer.
    ``keys``: ``TYPE BASE64`` of those that can be shown."""

    user: str | None = None
    local: str = ""
    keys: tuple[str, ...] = ()


@fast_dataclass(frozen=True)
class LoginAccess:
    """What an instance's metadata or OS Login says of us.

    ``user``: the login name, empty while there is none. ``keys``: those of ours that are let in. ``until``: when the
    last of them ends (seconds since 1970), None for never. ``two_factor``: a second factor is asked for at each login.
    """

    by: AccessMethod
    user: str = ""
    keys: tuple[str, ...] = ()
    until: float | None = None
    two_factor: bool = False


@fast_dataclass(frozen=True)
class InstalledKey:
    """A public key (``TYPE BASE64``) that we put on an instance, or into somebody's OS Login, until ``until``.
    ``user``: the login name; for OS Login the account's email."""

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
    """``added``: None if nothing had to be written."""

    access: LoginAccess
    added: InstalledKey | None = None


def access_from_document(document: Mapping[str, Any] | None) -> LoginAccess | None:
    """From its ``asdict``."""
    return LoginAccess(**{**document, "keys": tuple(document["keys"])}) if document else None


def keys_from_documents(documents: Iterable[Mapping[str, Any]]) -> tuple[InstalledKey, ...]:
    return tuple(InstalledKey(**document) for document in documents)


def merge_keys(keys: Iterable[InstalledKey], more: Iterable[InstalledKey]) -> tuple[InstalledKey, ...]:
    return tuple(dict.fromkeys([*keys, *more]))
