"""Does our server answer there? It proves that it knows the token; the token itself is not sent."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from typing import Any

from . import server_client
from .server_client import NotHttp

IDENTITY_PATH = "/api/remote-runtime/identity"
TOKEN_PATH = "/api/remote-runtime/token"  # noqa: S105  # a path, no secret
MAX_REPLY_BYTES = 65536
MAX_JSON_BYTES = 4 * 1024 * 1024


def check_identity(address: int | str, token: str, timeout_s: float) -> str:
    """``place``: a port of 127.0.0.1, or the path of a unix socket.

    ``ours``; ``silent`` (nothing listens, or no answer in time); ``no-bridge`` (an HTTP server without the identity
    path, or one that refuses it); ``stranger`` (an answer without the proof)."""
    return identify(address, token, timeout_s)[0]


def identify(address: int | str, token: str, timeout_s: float, bound_address: str = "") -> tuple[str, str]:
    """As ``check``, with the version of the bridge that proved itself, else empty. ``at``: ``ADDRESS:PORT`` where it
    must say that it listens."""
    nonce = os.urandom(16).hex()
    path = f"{IDENTITY_PATH}?nonce={nonce}" + (f"&at={bound_address}" if bound_address else "")
    try:
        status, body = server_client.request(address, path, within_s=timeout_s, max_bytes=MAX_REPLY_BYTES)
    except NotHttp:
        return "stranger", ""
    except OSError:
        return "silent", ""
    if status != 200:
        return "no-bridge", ""
    message = f"remote-runtime-identity:{nonce}" + (f"@{bound_address}" if bound_address else "")
    expected = hmac.new(token.encode(), message.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(_text_field(body, "hmac").encode(), expected.encode()):
        return "stranger", ""
    return "ours", _text_field(body, "bridge")


def get_json(address: int | str, token: str, path: str, timeout_s: float) -> dict[str, Any]:
    """The JSON object at ``path``, or an empty one. Only after ``check`` said ``ours``: this sends the token."""
    try:
        _, body = server_client.request(address, path, within_s=timeout_s, max_bytes=MAX_JSON_BYTES, token=token)
        document = json.loads(body.decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def request_shutdown(address: int | str, token: str, timeout_s: float) -> None:
    """Ask the server to end. Only after ``check`` said ``ours``: this sends the token."""
    with contextlib.suppress(OSError, NotHttp):
        server_client.request(
            address, "/api/shutdown", within_s=timeout_s, max_bytes=MAX_REPLY_BYTES, token=token, method="POST"
        )


def change_token(address: int | str, token: str, new_token: str, timeout_s: float) -> int:
    """Give the server a new token; the status of its answer. Only after ``check`` said ``ours``: this sends both.

    Raises ``OSError`` and ``NotHttp``."""
    body = json.dumps({"token": new_token}).encode()
    return server_client.request(
        address,
        TOKEN_PATH,
        within_s=timeout_s,
        max_bytes=MAX_REPLY_BYTES,
        token=token,
        method="POST",
        body_to_send=body,
    )[0]


def _text_field(body: bytes, key: str) -> str:
    try:
        document = json.loads(body.decode("utf-8"))
    except ValueError:
        return ""
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""
