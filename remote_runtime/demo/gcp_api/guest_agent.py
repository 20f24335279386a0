"""Which SSH keys an instance accepts: Google's guest agent reads them from metadata and from OS Login.

https://cloud.google.com/compute/docs/connect/add-ssh-keys describes the metadata.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .instance import EmulatedInstance
from .os_login import OsLogin

Entries = Mapping[str, Sequence[str]]
_FOREVER = float("inf")


@dataclass(frozen=True)
class AuthorizedKeys:
    """``entries``: user → ``TYPE BASE64`` lines. ``until``: the moment (epoch) at which the next of them ends."""

    entries: Entries
    until: float = _FOREVER


def authorized_keys(instance: EmulatedInstance, project: Mapping[str, str], os_login: OsLogin) -> AuthorizedKeys:
    """The keys that are valid now. ``project``: the project's metadata. The caller holds the cloud's lock."""
    now = time.time()
    if _is_on("enable-oslogin", instance.metadata, project):
        found = _os_login_keys(instance.vm.project, os_login, now)
    else:
        found = [each for line in _lines(instance.metadata, project) if (each := _parse_line(line)) is not None]
    entries: dict[str, list[str]] = {}
    for user, key, until in found:
        if until > now:
            entries.setdefault(user, []).append(key)
    return AuthorizedKeys(entries, min((until for _, _, until in found if until > now), default=_FOREVER))


def _is_on(switch: str, *metadata: Mapping[str, str]) -> bool:
    for items in metadata:
        if switch in items:
            return items[switch].strip().lower() == "true"
    return False


def _lines(instance: Mapping[str, str], project: Mapping[str, str]) -> list[str]:
    """The instance's legacy ``sshKeys`` hide the project's keys, as ``block-project-ssh-keys`` does."""
    values = [instance.get("ssh-keys", ""), instance.get("sshKeys", "")]
    if "sshKeys" not in instance and not _is_on("block-project-ssh-keys", instance):
        values += [project.get("ssh-keys", ""), project.get("sshKeys", "")]
    return [line.strip() for value in values for line in value.split("\n") if line.strip()]


def _parse_line(line: str) -> tuple[str, str, float] | None:
    """(user, ``TYPE BASE64``, end) of ``USER:TYPE BASE64 [COMMENT | google-ssh JSON]``; None for what is neither."""
    user, colon, key = line.partition(":")
    fields = key.split(None, 3)
    if not colon or not user or len(fields) < 2:
        return None
    until = _FOREVER
    if len(fields) == 4 and fields[2] == "google-ssh":
        try:
            until = datetime.strptime(json.loads(fields[3])["expireOn"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
        except (ValueError, KeyError, TypeError):
            return None
    return user, f"{fields[0]} {fields[1]}", until


def _os_login_keys(project: str, os_login: OsLogin, now: float) -> list[tuple[str, str, float]]:
    return [
        (account.username, " ".join(key.key.split()[:2]), (key.expires_usec or _FOREVER * 1e6) / 1e6)
        for user in os_login.users.values()
        if user.may_log_in
        for account in user.accounts
        if account.project == project
        for key in user.keys.values()
        if key.is_valid(now)
    ]
