"""Keys in an instance's metadata: which count there, one added, those of ours taken away.

The whole metadata is written back with the fingerprint that was read; whoever was quicker makes us read again.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...core.access import Access, AddedKey, Who
from ...core.errors import CloudError, DeadlinePassed
from ...core.model import Instance
from ..client import metadata_flags
from ..client.api import Api
from ..instances import operations, power
from . import key_entries

if TYPE_CHECKING:
    from google.cloud import compute_v1

MOST_TRIES = 50
PAUSE_S = 0.2
# The server's word for a fingerprint that is not the present one, when it says so late.
_LATE = "CONDITION_NOT_MET"

Change = Callable[["str | None"], "str | None"]


def look(api: Api, raw: compute_v1.Instance, who: Who) -> Access:
    """What counts for us now. ``user`` is empty unless it was asked for or one of our keys names it."""
    ours = [entry for entry in _visible(api, raw) if entry.key in who.keys and who.user in (None, entry.user)]
    users = [entry.user for entry in ours]
    user = who.user or (who.local if who.local in users else next(iter(users), ""))
    ours = [entry for entry in ours if entry.user == user]
    ends = [entry.until for entry in ours]
    until = None if None in ends else max((end for end in ends if end is not None), default=None)
    return Access("metadata", user, tuple(dict.fromkeys(entry.key for entry in ours)), until)


def add(api: Api, raw: compute_v1.Instance, instance: Instance, new: AddedKey, former: tuple[AddedKey, ...]) -> None:
    """``former``: entries that this one replaces. Raises ``CloudError``, ``DeadlinePassed``."""
    line = key_entries.text_of(new.user, new.key, new.until)
    old = {_line(each) for each in former if (each.by, each.id) == ("metadata", new.id)} - {line}

    def change(value: str | None) -> str | None:
        if value is not None and line in (part.strip() for part in value.split("\n")):
            return value  # an answer was lost on the way
        return key_entries.with_entry(value, line, without=old, key=new.key, now=time.time())

    _rewrite(api, instance, raw, change, doing=f"put a key on {instance.name}")


def withdraw(api: Api, instance: Instance, added: tuple[AddedKey, ...]) -> None:
    """Takes away the entries that we made, and what has expired of their keys. An instance that is gone has none."""
    try:
        raw = power.same_instance(api, instance)
    except CloudError as exc:
        if exc.code == "instance-not-found":
            return
        raise
    lines = {_line(each) for each in added}
    keys = {each.key for each in added}

    def change(value: str | None) -> str | None:
        for key in keys:
            value = None if value is None else key_entries.without_entries(value, lines, key=key, now=time.time())
        return value

    _rewrite(api, instance, raw, change, doing=f"take our key off {instance.name}")


def _visible(api: Api, raw: compute_v1.Instance) -> list[key_entries.Entry]:
    """What the guest agent reads: the instance's legacy ``sshKeys`` hide the project's keys, as
    ``block-project-ssh-keys`` does."""
    own = metadata_flags.items_of(raw.metadata)
    values = [own.get(key_entries.KEY, ""), own.get(key_entries.LEGACY_KEY, "")]
    if key_entries.LEGACY_KEY not in own and not metadata_flags.is_true(own.get("block-project-ssh-keys")):
        project = metadata_flags.of_project(api)
        values += [project.get(key_entries.KEY, ""), project.get(key_entries.LEGACY_KEY, "")]
    return [entry for value in values for entry in key_entries.entries(value, time.time())]


def _line(added: AddedKey) -> str:
    return key_entries.text_of(added.user, added.key, added.until)


def _rewrite(api: Api, instance: Instance, raw: compute_v1.Instance, change: Change, *, doing: str) -> None:
    for attempt in range(1, MOST_TRIES + 1):
        metadata = _changed(raw.metadata, change)
        if metadata is None or _written(api, instance, metadata, doing):
            return
        if attempt == 3:
            api.tell(f"Trying again to {doing}: others write its metadata too")
        api.deadline.pause(random.uniform(0.2, 1.0) * PAUSE_S * min(attempt, 5))  # noqa: S311  # not a secret
        if api.deadline.passed():
            break
        raw = power.same_instance(api, instance)
    raise DeadlinePassed(f"The time to {doing} was over", "others keep writing its metadata", api.allows)


def _changed(metadata: compute_v1.Metadata, change: Change) -> compute_v1.Metadata | None:
    """What to write; None if that is what is there."""
    from google.cloud import compute_v1

    value = metadata_flags.items_of(metadata).get(key_entries.KEY)
    wanted = change(value)
    if wanted == value:
        return None
    items = [
        compute_v1.Items(key=item.key, value=wanted) if item.key == key_entries.KEY else item
        for item in metadata.items
        if item.key != key_entries.KEY or wanted is not None
    ]
    if value is None:
        items.append(compute_v1.Items(key=key_entries.KEY, value=wanted))
    return compute_v1.Metadata(fingerprint=metadata.fingerprint, items=items)


def _written(api: Api, instance: Instance, metadata: compute_v1.Metadata, doing: str) -> bool:
    """False if somebody else was quicker."""
    from google.api_core.exceptions import PreconditionFailed

    def write(*, request: dict[str, Any], retry: None, timeout: float) -> compute_v1.Operation | None:
        try:
            return api.instances.set_metadata_unary(request=request, retry=retry, timeout=timeout)
        except PreconditionFailed:
            return None

    request = {
        "project": api.project,
        "zone": instance.zone,
        "instance": instance.name,
        "metadata_resource": metadata,
        "request_id": str(uuid.uuid4()),
    }
    try:
        operation = api.call(write, request, doing=doing)
        if operation is None:
            return False
        operations.wait_until_done(api, "set the metadata of", instance, operation, lambda: None)
    except CloudError as exc:
        if exc.code != "instance-not-startable":
            raise
        if _LATE in exc.why:
            return False
        raise CloudError("key-not-added", f"Compute Engine refuses to {doing}", exc.why) from exc
    return True
