"""Reads the SSH host keys that a machine's guest agent publishes in its guest attributes."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from ...core.deadline import Deadline, wait_until
from ...core.errors import CloudError, DeadlinePassed
from ...core.model import Instance
from ..client.api import Api
from ..client.error_mapping import NotFound

if TYPE_CHECKING:
    from google.cloud import compute_v1

GUEST_ATTRIBUTES_FLAG = "enable-guest-attributes"
MAX_KEYS = 16
MAX_KEY_CHARS = 8192
POLL_EVERY_S = 0.5
REPORT_EVERY_POLLS = 10
_KEY_TYPE = re.compile(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9-]{1,40}(@openssh\.com)?")


def read_published(api: Api, instance: Instance, raw: compute_v1.Instance, *, wait_s: float) -> tuple[str, ...]:
    """``TYPE BASE64`` lines; empty if the machine publishes none. They are written at its first boot: waits for them
    for up to ``wait_s``."""
    if not api.is_enabled(raw, GUEST_ATTRIBUTES_FLAG):
        return ()
    try:
        found = _read(api, instance)
        if found or wait_s <= 0:
            return found or ()
        api.progress(f"Waiting for {instance.name} to publish its host keys")
        deadline = api.deadline.within(wait_s)
        return wait_until(lambda: _poll(api, instance, deadline), deadline, every_s=POLL_EVERY_S, what="the wait")
    except DeadlinePassed:
        api.progress(f"{instance.name} has published no host keys yet")
    except CloudError as exc:
        if exc.code == "cloud-unreachable":
            raise
        # The host keys may be known from another source.
        api.progress(f"The host keys of {instance.name} can't be read: {exc.why or exc.what}")
    return ()


def _poll(api: Api, instance: Instance, deadline: Deadline) -> tuple[str, ...] | None:
    waited_s = deadline.timeout_s - deadline.remaining_s()
    if int(waited_s / POLL_EVERY_S) % REPORT_EVERY_POLLS == REPORT_EVERY_POLLS - 1:
        api.progress(
            f"Waiting for {instance.name} to publish its host keys, {waited_s:.0f} s of {deadline.timeout_s:.0f} s"
        )
    return _read(api, instance)


def _read(api: Api, instance: Instance) -> tuple[str, ...] | None:
    """None if they are not published yet."""
    request = api.request_for(instance, query_path="hostkeys/")
    try:
        answer = api.call(api.instances.get_guest_attributes, request, doing=f"read the host keys of {instance.name}")
    except NotFound as exc:
        if "guest attribute" not in exc.why.lower():
            raise
        return None
    lines = [_line(item.key, item.value) for item in answer.query_value.items if item.namespace == "hostkeys"]
    return tuple(line for line in lines if line)[:MAX_KEYS] or None


def _line(key_type: str, value: str) -> str:
    """Empty for what is no host key. The value may end with a comment."""
    blob = value.split(maxsplit=1)[0] if value.strip() else ""
    if not _KEY_TYPE.fullmatch(key_type) or not 0 < len(blob) <= MAX_KEY_CHARS:
        return ""
    try:
        named = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return ""
    # An SSH key blob begins with its type, as a string (RFC 4253, section 6.6).
    start = len(key_type).to_bytes(4, "big") + key_type.encode()
    return f"{key_type} {blob}" if named.startswith(start) else ""
