"""Whether an instance lets us in, and what is written so that it does: by its metadata, or by OS Login."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ...core.access import Access, AddedKey, Admission, Who
from ...core.errors import CloudError
from ...core.model import Instance
from ..client import metadata_flags
from ..client.account import email_of
from ..client.api import Api
from . import metadata_keys, os_login

if TYPE_CHECKING:
    from google.cloud import compute_v1

OS_LOGIN = "enable-oslogin"
TWO_FACTOR = "enable-oslogin-2fa"


def look(api: Api, environ: Mapping[str, str], raw: compute_v1.Instance, who: Who) -> Access:
    """Reads only. Raises ``CloudError`` where OS Login is on and does not answer."""
    if metadata_flags.is_on(api, raw, OS_LOGIN):
        access = os_login.look(api, environ, who)
        return dataclasses.replace(access, two_factor=metadata_flags.is_on(api, raw, TWO_FACTOR))
    access = metadata_keys.look(api, raw, who)
    return access if access.user else dataclasses.replace(access, user=_convention(api, environ, who.local))


def admit(
    api: Api,
    environ: Mapping[str, str],
    instance: Instance,
    raw: compute_v1.Instance,
    who: Who,
    *,
    key: str,
    lifetime_s: float,
    former: tuple[AddedKey, ...],
    fresh: bool,
    adding: Callable[[AddedKey], None],
) -> Admission:
    """Writes ``key`` where it is missing, or ends before half its ``lifetime_s`` if ``fresh``; ``adding`` is told
    before. ``former``: what we added earlier. A key that was there before us is not recorded as ours."""
    who = dataclasses.replace(who, keys=(key,))
    access = look(api, environ, raw, who)
    now = time.time()
    stays = access.until is None or access.until - now > (lifetime_s / 2 if fresh else 0.0)
    if access.user and access.keys and stays:
        return Admission(access)
    until = int(now + lifetime_s)
    place = (instance.name, instance.id or "", instance.zone or "", api.project)
    if access.by == "os-login":
        new = AddedKey("os-login", os_login.email(api, environ), key, until, *place)
        theirs = bool(access.keys) and not any(one.by == "os-login" and one.key == key for one in former)
        if not theirs:
            adding(new)
        endless = theirs and access.until is None
        let_in = os_login.add(api, environ, new, who, endless=endless)
        return Admission(dataclasses.replace(let_in, two_factor=access.two_factor), None if theirs else new)
    new = AddedKey("metadata", access.user, key, until, *place)
    adding(new)
    metadata_keys.add(api, raw, instance, new, former)
    return Admission(dataclasses.replace(access, keys=(key,), until=float(until)), new)


def withdraw(api: Api, environ: Mapping[str, str], added: Sequence[AddedKey]) -> None:
    """Takes away what we added. Raises ``CloudError``, ``DeadlinePassed``."""
    for each in {(one.user, one.key): one for one in added if one.by == "os-login"}.values():
        os_login.withdraw(api, environ, each)
    in_metadata = sorted((one for one in added if one.by == "metadata"), key=lambda one: one.id)
    for _, group in groupby(in_metadata, key=lambda one: one.id):
        of_one = tuple(group)
        first = of_one[0]
        api.project = first.project
        instance = Instance("gce", first.instance, id=first.id, zone=first.zone, project=first.project)
        metadata_keys.withdraw(api, instance, of_one)


def _convention(api: Api, environ: Mapping[str, str], local: str) -> str:
    """gcloud's: the name on this computer, else the account's name where that has characters that no login has."""
    if local and local.isascii() and local.isprintable() and " " not in local and ":" not in local:
        return local
    try:
        account = email_of(api.identity, environ)
    except CloudError:
        return "user"
    return re.sub(r"[^a-z0-9_-]", "_", account.partition("@")[0].lower())[:32]
