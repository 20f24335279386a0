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
ANSWER_LIMIT = 65536
ASKED_LIMIT = 4 * 1024 * 1024


def check(place: int | str, token: str, timeout_s: float) -> str:
    """``place``: a port of 127.0.0.1, or the path of a unix socket.

    ``ours``; ``silent`` (nothing listens, or no answer in time); ``no-bridge`` (an HTTP server without the identity
    path, or one that refuses it); ``stranger`` (an answer without the proof)."""
    return look(place, token, timeout_s)[0]


def look(place: int | str, token: str, timeout_s: float, at: str = "") -> tuple[str, str]:
    """As ``check``, with the version of the bridge that proved itself, else empty. ``at``: ``ADDRESS:PORT`` where it
    must say that it listens."""
    nonce = os.urandom(16).hex()
    asked = f"{IDENTITY_PATH}?nonce={nonce}" + (f"&at={at}" if at else "")
    try:
        status, body = server_client.ask(place, asked, within_s=timeout_s, limit=ANSWER_LIMIT)
    except NotHttp:
        return "stranger", ""
    except OSError:
        return "silent", ""
    if status != 200:
        return "no-bridge", ""
    message = f"remote-runtime-identity:{nonce}" + (f"@{at}" if at else "")
    expected = hmac.new(token.encode(), message.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(_said(body, "hmac").encode(), expected.encode()):
        return "stranger", ""
    return "ours", _said(body, "bridge")


def ask(place: int | str, token: str, path: str, timeout_s: float) -> dict[str, Any]:
    """The JSON object at ``path``, or an empty one. Only after ``check`` said ``ours``: this sends the token."""
    try:
        _, body = server_client.ask(place, path, within_s=timeout_s, limit=ASKED_LIMIT, token=token)
        answer = json.loads(body.decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def shut_down(place: int | str, token: str, timeout_s: float) -> None:
    """Ask the server to end. Only after ``check`` said ``ours``: this sends the token."""
    with contextlib.suppress(OSError, NotHttp):
        server_client.ask(place, "/api/shutdown", within_s=timeout_s, limit=ANSWER_LIMIT, token=token, method="POST")


def change_token(place: int | str, token: str, new: str, timeout_s: float) -> int:
    """Give the server a new token; the status of its answer. Only after ``check`` said ``ours``: this sends both.

    Raises ``OSError`` and ``NotHttp``."""
    content = json.dumps({"token": new}).encode()
    return server_client.ask(
        place, TOKEN_PATH, within_s=timeout_s, limit=ANSWER_LIMIT, token=token, method="POST", content=content
    )[0]


def _said(body: bytes, key: str) -> str:
    try:
        answer = json.loads(body.decode("utf-8"))
    except ValueError:
        return ""
    value = answer.get(key) if isinstance(answer, dict) else None
    return value if isinstance(value, str) else ""
