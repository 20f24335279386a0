"""SSH keys in an instance's metadata.

``ssh-keys`` has an entry a line, ``USER:TYPE BASE64`` and a comment, or ``google-ssh`` and JSON
(https://cloud.google.com/compute/docs/connect/add-ssh-keys). The whole metadata is written with the fingerprint that
was read; if another client has written it meanwhile, it is read again.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ...core.access import InstalledKey, LoginAccess, LoginIdentity
from ...core.errors import CloudError, DeadlinePassed
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Instance
from ..client.api import Api, is_true, metadata_items
from ..instances import operations, power

if TYPE_CHECKING:
    from google.cloud import compute_v1

SSH_KEYS = "ssh-keys"
LEGACY_SSH_KEYS = "sshKeys"
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%z"
MAX_TRIES = 50
PAUSE_S = 0.2
# The code of an outdated fingerprint that is found only while the operation runs.
_CONDITION_NOT_MET = "CONDITION_NOT_MET"

Edit = Callable[["str | None"], "str | None"]


def read_access(api: Api, raw: compute_v1.Instance, login: LoginIdentity) -> LoginAccess:
    """The keys of ``login`` that are valid now. ``user`` is empty unless it was given or an entry names it."""
    ours = [
        entry for entry in _effective_entries(api, raw) if entry.key in login.keys and login.user in (None, entry.user)
    ]
    users = [entry.user for entry in ours]
    user = login.user or (login.local if login.local in users else next(iter(users), ""))
    ours = [entry for entry in ours if entry.user == user]
    ends = [entry.until for entry in ours]
    until = None if None in ends else max((end for end in ends if end is not None), default=None)
    return LoginAccess("metadata", user, tuple(dict.fromkeys(entry.key for entry in ours)), until)


def add_key(
    api: Api, raw: compute_v1.Instance, instance: Instance, new: InstalledKey, previous_keys: Sequence[InstalledKey]
) -> None:
    """``previous_keys``: entries that this one replaces. Raises ``CloudError``, ``DeadlinePassed``."""
    line = format_entry(new.user, new.key, new.until)
    old = {_line(each) for each in previous_keys if (each.by, each.id) == ("metadata", new.id)} - {line}

    def change(value: str | None) -> str | None:
        if value is not None and line in (part.strip() for part in value.split("\n")):
            return value  # the response to the first request was lost
        return with_entry(value, line, without=old, key=new.key, now=time.time())

    _update_metadata(api, instance, raw, change, doing=f"add an SSH key to {instance.name}")


def remove_keys(api: Api, instance: Instance, installed: tuple[InstalledKey, ...]) -> None:
    """Removes these entries, and expired entries of the same keys. Does nothing if the instance is gone."""
    try:
        raw = power.reload(api, instance)
    except CloudError as exc:
        if exc.code == "instance-not-found":
            return
        raise
    lines = {_line(each) for each in installed}
    keys = {each.key for each in installed}

    def change(value: str | None) -> str | None:
        for key in keys:
            value = None if value is None else without_entries(value, lines, key=key, now=time.time())
        return value

    _update_metadata(api, instance, raw, change, doing=f"remove the SSH key from {instance.name}")


def _effective_entries(api: Api, raw: compute_v1.Instance) -> list[KeyEntry]:
    """The entries that the guest agent uses: the instance's legacy ``sshKeys`` hide the project's keys, as
    ``block-project-ssh-keys`` does."""
    own = metadata_items(raw.metadata)
    values = [own.get(SSH_KEYS, ""), own.get(LEGACY_SSH_KEYS, "")]
    if LEGACY_SSH_KEYS not in own and not is_true(own.get("block-project-ssh-keys")):
        project = api.project_metadata()
        values += [project.get(SSH_KEYS, ""), project.get(LEGACY_SSH_KEYS, "")]
    return [entry for value in values for entry in valid_entries(value, time.time())]


def _line(added: InstalledKey) -> str:
    return format_entry(added.user, added.key, added.until)


def _update_metadata(api: Api, instance: Instance, raw: compute_v1.Instance, edit: Edit, *, doing: str) -> None:
    for attempt in range(1, MAX_TRIES + 1):
        metadata = _edited_metadata(raw.metadata, edit)
        if metadata is None or _set_metadata(api, instance, metadata, doing):
            return
        if attempt == 3:
            api.progress(f"Retrying to {doing}: other clients write its metadata too")
        api.deadline.sleep(random.uniform(0.2, 1.0) * PAUSE_S * min(attempt, 5))  # noqa: S311  # not a secret
        if api.deadline.passed():
            break
        raw = power.reload(api, instance)
    raise DeadlinePassed(f"Timed out: can't {doing}", "other clients keep writing its metadata", api.timeout_hint)


def _edited_metadata(metadata: compute_v1.Metadata, edit: Edit) -> compute_v1.Metadata | None:
    """The metadata to write; None if nothing changes."""
    from google.cloud import compute_v1

    value = metadata_items(metadata).get(SSH_KEYS)
    wanted = edit(value)
    if wanted == value:
        return None
    items = [
        compute_v1.Items(key=item.key, value=wanted) if item.key == SSH_KEYS else item
        for item in metadata.items
        if item.key != SSH_KEYS or wanted is not None
    ]
    if value is None:
        items.append(compute_v1.Items(key=SSH_KEYS, value=wanted))
    return compute_v1.Metadata(fingerprint=metadata.fingerprint, items=items)


def _set_metadata(api: Api, instance: Instance, metadata: compute_v1.Metadata, doing: str) -> bool:
    """False if another client has written the metadata meanwhile."""
    from google.api_core.exceptions import PreconditionFailed

    def write(*, request: dict[str, Any], retry: None, timeout: float) -> compute_v1.Operation | None:
        try:
            return api.instances.set_metadata_unary(request=request, retry=retry, timeout=timeout)
        except PreconditionFailed:
            return None

    request = api.request_for(instance, metadata_resource=metadata, request_id=str(uuid.uuid4()))
    try:
        operation = api.call(write, request, doing=doing)
        if operation is None:
            return False
        operations.wait_until_done(api, "set the metadata of", instance, operation, lambda: None)
    except CloudError as exc:
        if exc.code != "instance-not-startable":
            raise
        if _CONDITION_NOT_MET in exc.why:
            return False
        raise CloudError("key-not-added", f"Can't {doing}", exc.why) from exc
    return True


@fast_dataclass(frozen=True)
class KeyEntry:
    """``key``: ``TYPE BASE64``. ``until``: seconds since 1970, None if it does not expire."""

    user: str
    key: str
    until: float | None


def format_entry(user: str, key: str, until: int) -> str:
    """The guest agent, gcloud and Google's console require this order of fields, and no space in the JSON."""
    on = datetime.fromtimestamp(until, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")
    details = json.dumps({"userName": user, "expireOn": on}, separators=(",", ":"))
    return f"{user}:{key} google-ssh {details}"


def parse_entry(line: str) -> KeyEntry | None:
    """None for a line that the guest agent ignores."""
    user, colon, rest = line.strip().partition(":")
    fields = rest.split(None, 3)
    if not colon or not user or len(fields) < 2:
        return None
    until = None
    if len(fields) == 4 and fields[2] == "google-ssh":
        try:
            until = datetime.strptime(json.loads(fields[3])["expireOn"], _TIME_FORMAT).timestamp()
        except (ValueError, KeyError, TypeError):
            return None
    return KeyEntry(user, f"{fields[0]} {fields[1]}", until)


def valid_entries(value: str, now: float) -> list[KeyEntry]:
    """The entries that have not expired."""
    found = [entry for line in value.split("\n") if (entry := parse_entry(line)) is not None]
    return [entry for entry in found if entry.until is None or entry.until > now]


def with_entry(value: str | None, line: str, *, without: Collection[str], key: str, now: float) -> str:
    """``value`` (None: there is no such metadata) with ``line`` at its end. All else stays byte for byte, except
    ``without`` and expired entries of ``key``."""
    if value is None:
        return line
    kept = without_entries(value, without, key=key, now=now)
    if kept is None:
        return line
    if kept == "" or kept.endswith("\n"):
        return f"{kept}{line}\n"
    return f"{kept}\n{line}"


def without_entries(value: str, lines: Collection[str], *, key: str = "", now: float = 0.0) -> str | None:
    """``value`` without ``lines`` and expired entries of ``key``; None if nothing else was in it."""
    parts = value.split("\n")
    kept = [part for part in parts if part.strip() not in lines and not _has_expired(part, key, now)]
    return None if not kept else "\n".join(kept)


def _has_expired(line: str, key: str, now: float) -> bool:
    entry = parse_entry(line) if key else None
    return entry is not None and entry.key == key and entry.until is not None and entry.until <= now
