"""Who may enter a Compute Engine instance, and the keys that we put there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from .frozen import dataclass

By = Literal["metadata", "os-login"]


@dataclass(frozen=True)
class Who:
    """Who wants to enter. ``user``: the login name that was asked for; ``local``: the name on this computer.
    ``keys``: ``TYPE BASE64`` of those that can be shown."""

    user: str | None = None
    local: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Access:
    """What an instance's metadata or OS Login says of us.

    ``user``: the login name, empty while there is none. ``keys``: those of ours that are let in. ``until``: when the
    last of them ends (seconds since 1970), None for never. ``two_factor``: a second factor is asked for at each login.
    """

    by: By
    user: str = ""
    keys: tuple[str, ...] = ()
    until: float | None = None
    two_factor: bool = False


@dataclass(frozen=True)
class AddedKey:
    """A public key (``TYPE BASE64``) that we put on an instance, or into somebody's OS Login, until ``until``.
    ``user``: the login name; for OS Login the account's email."""

    by: By
    user: str
    key: str
    until: int
    instance: str
    id: str
    zone: str
    project: str


@dataclass(frozen=True)
class Admission:
    """``added``: None if nothing had to be written."""

    access: Access
    added: AddedKey | None = None


def to_access(document: Mapping[str, Any] | None) -> Access | None:
    """From its ``asdict``."""
    return Access(**{**document, "keys": tuple(document["keys"])}) if document else None


def to_added(documents: Iterable[Mapping[str, Any]]) -> tuple[AddedKey, ...]:
    return tuple(AddedKey(**document) for document in documents)


def in_one(added: Iterable[AddedKey], more: Iterable[AddedKey]) -> tuple[AddedKey, ...]:
    return tuple(dict.fromkeys([*added, *more]))
