"""Does our server answer there? It proves that it knows the token; the token itself is not sent."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import secrets
import socket
from typing import Any

IDENTITY_PATH = "/api/remote-runtime/identity"
ANSWER_LIMIT = 65536
ASKED_LIMIT = 4 * 1024 * 1024


def check(place: int | str, token: str, timeout_s: float) -> str:
    """``place``: a port of 127.0.0.1, or the path of a unix socket.

    ``ours``; ``silent`` (nothing listens, or no answer in time); ``no-bridge`` (an HTTP server without the identity
    path, or one that refuses it); ``stranger`` (an answer without the proof)."""
    return look(place, token, timeout_s)[0]


def look(place: int | str, token: str, timeout_s: float) -> tuple[str, str]:
    """As ``check``, with the version of the bridge that proved itself, else empty."""
    nonce = secrets.token_hex(16)
    connection = _Connection(place, timeout_s)
    try:
        connection.request("GET", IDENTITY_PATH + "?nonce=" + nonce)
        response = connection.getresponse()
        body = response.read(ANSWER_LIMIT)
    except http.client.HTTPException:
        return "stranger", ""
    except OSError:
        return "silent", ""
    finally:
        connection.close()
    if response.status != 200:
        return "no-bridge", ""
    expected = hmac.new(token.encode(), b"remote-runtime-identity:" + nonce.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(_said(body, "hmac").encode(), expected.encode()):
        return "stranger", ""
    return "ours", _said(body, "bridge")


def ask(place: int | str, token: str, path: str, timeout_s: float) -> dict[str, Any]:
    """The JSON object at ``path``, or an empty one. Only after ``check`` said ``ours``: this sends the token."""
    connection = _Connection(place, timeout_s)
    try:
        connection.request("GET", path, headers={"Authorization": "token " + token})
        answer = json.loads(connection.getresponse().read(ASKED_LIMIT).decode("utf-8"))
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else {}


def shut_down(place: int | str, token: str, timeout_s: float) -> None:
    """Ask the server to end. Only after ``check`` said ``ours``: this sends the token."""
    connection = _Connection(place, timeout_s)
    try:
        connection.request("POST", "/api/shutdown", headers={"Authorization": "token " + token})
        connection.getresponse().read(ANSWER_LIMIT)
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, place: int | str, timeout_s: float) -> None:
        super().__init__("127.0.0.1", place if isinstance(place, int) else None, timeout=timeout_s)
        self._place = place

    def connect(self) -> None:
        if isinstance(self._place, int):
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._place)


def _said(body: bytes, key: str) -> str:
    try:
        answer = json.loads(body.decode("utf-8"))
    except ValueError:
        return ""
    value = answer.get(key) if isinstance(answer, dict) else None
    return value if isinstance(value, str) else ""
