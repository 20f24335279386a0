"""Reads and grants SSH access to an instance, by its metadata or by OS Login."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ...core.access import AccessGrant, InstalledKey, LoginAccess, LoginIdentity
from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ...core.errors import CloudError
from ...core.model import Instance
from ..client.api import Api, open_api
from ..client.credentials import email_of
from ..instances import power
from . import metadata_keys, os_login

if TYPE_CHECKING:
    from google.cloud import compute_v1

OS_LOGIN_FLAG = "enable-oslogin"
TWO_FACTOR_FLAG = "enable-oslogin-2fa"


def read_access(api: Api, raw: compute_v1.Instance, login: LoginIdentity) -> LoginAccess:
    """The access of ``login``; changes nothing. Raises ``CloudError`` if OS Login is on and does not respond."""
    if api.is_enabled(raw, OS_LOGIN_FLAG):
        access = os_login.read_access(api, login)
        return dataclasses.replace(access, two_factor=api.is_enabled(raw, TWO_FACTOR_FLAG))
    access = metadata_keys.read_access(api, raw, login)
    return access if access.user else dataclasses.replace(access, user=_default_user(api, login.local))


def grant_access(
    instance: Instance,
    login: LoginIdentity,
    key: str,
    *,
    lifetime_s: float,
    previous_keys: Sequence[InstalledKey],
    renew: bool,
    before_write: Callable[[InstalledKey], None],
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> AccessGrant:
    """Lets ``key`` (``TYPE BASE64``) log in to ``instance`` for ``lifetime_s``: by OS Login where that is on, else by
    the instance's metadata. ``before_write`` is called with the key before anything is written: ``revoke_access`` can
    remove it from then on.

    Writes nothing while the key is accepted; with ``renew``, while it is accepted for at least half of ``lifetime_s``.
    ``previous_keys``: keys that remote-runtime installed before, which the new one replaces. A key that
    another program installed is not returned as ``added``. Raises ``key-not-added`` among others.
    """
    api = open_api(environ, progress=progress, deadline=deadline, project=instance.project or "")
    raw = power.reload(api, instance)
    login = dataclasses.replace(login, keys=(key,))
    access = read_access(api, raw, login)
    now = time.time()
    is_valid = access.until is None or access.until - now > (lifetime_s / 2 if renew else 0.0)
    if access.user and access.keys and is_valid:
        return AccessGrant(access)
    until = int(now + lifetime_s)
    instance_fields = (instance.name, instance.id or "", instance.zone or "", api.project)
    if access.by == "os-login":
        new = InstalledKey("os-login", email_of(api.identity, api.environ), key, until, *instance_fields)
        is_preexisting = bool(access.keys) and not any(one.by == "os-login" and one.key == key for one in previous_keys)
        if not is_preexisting:
            before_write(new)
        no_expiry = is_preexisting and access.until is None
        new_access = os_login.import_key(api, new, login, no_expiry=no_expiry)
        return AccessGrant(
            dataclasses.replace(new_access, two_factor=access.two_factor), None if is_preexisting else new
        )
    new = InstalledKey("metadata", access.user, key, until, *instance_fields)
    before_write(new)
    metadata_keys.add_key(api, raw, instance, new, previous_keys)
    return AccessGrant(dataclasses.replace(access, keys=(key,), until=float(until)), new)


def revoke_access(
    keys: Sequence[InstalledKey], *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> None:
    """Removes ``keys``, and expired entries of the same keys. Leaves everything else as it is."""
    api = open_api(environ, progress=progress, deadline=deadline)
    for each in {(one.user, one.key): one for one in keys if one.by == "os-login"}.values():
        os_login.delete_key(api, each)
    in_metadata = sorted((one for one in keys if one.by == "metadata"), key=lambda one: one.id)
    for _, group in groupby(in_metadata, key=lambda one: one.id):
        of_one = tuple(group)
        first = of_one[0]
        api.project = first.project
        instance = Instance("gce", first.instance, id=first.id, zone=first.zone, project=first.project)
        metadata_keys.remove_keys(api, instance, of_one)


def _default_user(api: Api, local_user: str) -> str:
    """As gcloud: the user's name on this computer, else the account's if that name has characters that no login name
    has."""
    if (
        local_user
        and local_user.isascii()
        and local_user.isprintable()
        and " " not in local_user
        and ":" not in local_user
    ):
        return local_user
    try:
        account = email_of(api.identity, api.environ)
    except CloudError:
        return "user"
    return re.sub(r"[^a-z0-9_-]", "_", account.partition("@")[0].lower())[:32]
