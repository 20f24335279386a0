"""The text of ``ssh-keys`` metadata: one entry a line, ``USER:TYPE BASE64`` and a comment, or ``google-ssh`` and JSON.

https://cloud.google.com/compute/docs/connect/add-ssh-keys describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timezone

from ...core.fast_dataclass import fast_dataclass

SSH_KEYS = "ssh-keys"
LEGACY_SSH_KEYS = "sshKeys"
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%z"


@fast_dataclass(frozen=True)
class KeyEntry:
    """``key``: ``TYPE BASE64``. ``until``: seconds since 1970, None for one that does not expire."""

    user: str
    key: str
    until: float | None


def format_entry(user: str, key: str, until: int) -> str:
    """The guest, gcloud and Google's console insist on this order of fields, and on no space in the JSON."""
    on = datetime.fromtimestamp(until, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")
    details = json.dumps({"userName": user, "expireOn": on}, separators=(",", ":"))
    return f"{user}:{key} google-ssh {details}"


def parse_entry(line: str) -> KeyEntry | None:
    """None for what the guest would not take as a key."""
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
    """Those that count now."""
    found = [entry for line in value.split("\n") if (entry := parse_entry(line)) is not None]
    return [entry for entry in found if entry.until is None or entry.until > now]


def with_entry(value: str | None, line: str, *, without: Collection[str], key: str, now: float) -> str:
    """``value`` (None: there is no such metadata) with ``line`` at its end; all else stays byte for byte, except
    ``without`` and what has expired of ``key``."""
    if value is None:
        return line
    kept = without_entries(value, without, key=key, now=now)
    if kept is None:
        return line
    if kept == "" or kept.endswith("\n"):
        return f"{kept}{line}\n"
    return f"{kept}\n{line}"


def without_entries(value: str, lines: Collection[str], *, key: str = "", now: float = 0.0) -> str | None:
    """``value`` without ``lines`` and without what has expired of ``key``; None if that was all there was and the
    metadata was made for it."""
    parts = value.split("\n")
    kept = [part for part in parts if part.strip() not in lines and not _has_expired(part, key, now)]
    return None if not kept else "\n".join(kept)


def _has_expired(line: str, key: str, now: float) -> bool:
    entry = parse_entry(line) if key else None
    return entry is not None and entry.key == key and entry.until is not None and entry.until <= now
