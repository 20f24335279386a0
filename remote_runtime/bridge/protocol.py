"""Parses and encodes the bridge's messages: a page's request, and the messages of its answer.

The format is that of googlecolab/jupyter_http_over_ws, protocol version 0.0.7. Pure functions; no tornado.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Optional, Tuple, Union
from urllib.parse import quote

PROTOCOL_VERSION = "0.0.7"
CHUNK_BYTES = 64 * 1024
NOT_JSON = "JSON input is required."
UNCAUGHT = "Uncaught server-side exception. Check logs for additional details."

MessageId = Union[str, int, float]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URL_CHARACTERS = "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
_VERSION = re.compile(
    r"v?(?P<release>\d{1,9}(?:\.\d{1,9}){0,9})"
    r"(?:[-_.]?(?P<pre>a|alpha|b|beta|c|rc|pre|preview)[-_.]?(?P<pre_number>\d{0,9}))?"
    r"(?:[-_.]?(?P<post>post|rev|r)[-_.]?\d{0,9})?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?\d{0,9})?"
    r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+){0,9})?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class BridgeRequest:
    """``path``: starts with a slash, ASCII without blanks and control characters, may have a query."""

    message_id: MessageId
    method: str
    path: str
    body: Optional[bytes]
    is_text: bool


class BadRequest(Exception):
    """A message that is no request. ``status_text``: the reason for the page; ``message_id``: None if it has none."""

    def __init__(self, status_text: str, message_id: Optional[MessageId] = None) -> None:
        super().__init__(status_text)
        self.status_text = status_text
        self.message_id = message_id


def parse_request(message: Union[str, bytes]) -> BridgeRequest:
    """The request in a WebSocket message. Raises ``BadRequest`` and no other exception."""
    contents = _parse_object(message)
    message_id = _parse_message_id(contents)
    missing = [key for key in ("path", "method", "message_id") if contents.get(key) is None]
    if missing:
        raise BadRequest(f"The request body must contain {', '.join(missing)}", message_id)
    if message_id is None:
        raise BadRequest("The request body must contain a message_id that is a text or a number")
    body, is_text = _parse_body(contents, message_id)
    path = _parse_path(contents["path"], message_id)
    return BridgeRequest(message_id, _parse_method(contents["method"], message_id), path, body, is_text)


def first_message(message_id: MessageId, status: int, reason: str, headers: Iterable[Tuple[str, str]]) -> bytes:
    """The beginning of an answer's first message. Repeated headers are joined, hop-by-hop headers left out."""
    joined: Dict[str, str] = {}
    for name, value in headers:
        if name.lower() not in _HOP_BY_HOP:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return _message_start({"message_id": message_id, "status": status, "statusText": reason, "headers": joined})


def next_message(message_id: MessageId) -> bytes:
    """The beginning of an answer's later messages."""
    return _message_start({"message_id": message_id})


def chunk(beginning: bytes, data: "bytes | bytearray", *, done: bool) -> bytes:
    """A whole message, in UTF-8."""
    end = b', "done": true}' if done else b', "done": false}'
    if not data:
        return beginning + end
    # Not by json: base64 needs no escapes, and json would check each character.
    return b"".join((beginning, b', "data": "', binascii.b2a_base64(data, newline=False), b'"', end))


def error_message(message_id: Optional[MessageId], status: int, status_text: str) -> bytes:
    """An answer of the bridge itself."""
    answer: Dict[str, Any] = {} if message_id is None else {"message_id": message_id}
    answer.update(status=status, statusText=status_text, done=True)
    return json.dumps(answer).encode("ascii")


def text_frame(length: int) -> bytes:
    """The header of an unmasked WebSocket frame that holds a whole text message (RFC 6455, 5.2)."""
    if length < 126:
        return struct.pack("!BB", 0x81, length)
    return struct.pack("!BBH", 0x81, 126, length) if length < 1 << 16 else struct.pack("!BBQ", 0x81, 127, length)


def is_newer(version: str) -> bool:
    """Whether a version is newer than the bridge's protocol. Raises ``ValueError`` if it is not a version."""
    return _version_key(version) > _version_key(PROTOCOL_VERSION)


def _version_key(version: str) -> Tuple[Tuple[int, ...], int, int]:
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError("not a version")
    release = [int(part) for part in found["release"].split(".")]
    while release and release[-1] == 0:
        release.pop()
    if found["pre"]:
        stage = {"a": 1, "b": 2}.get(found["pre"][0].lower(), 3)
        return tuple(release), stage, int(found["pre_number"] or 0)
    return tuple(release), 5 if found["post"] else 0 if found["dev"] else 4, 0


def _message_start(contents: Dict[str, Any]) -> bytes:
    return json.dumps(contents)[:-1].encode("ascii")


def _parse_object(message: Union[str, bytes]) -> Dict[str, Any]:
    try:
        text = message.decode("utf-8") if isinstance(message, bytes) else message
        contents = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise BadRequest(NOT_JSON) from None
    if not isinstance(contents, dict):
        raise BadRequest(NOT_JSON)
    return contents


def _parse_message_id(contents: Dict[str, Any]) -> Optional[MessageId]:
    found = contents.get("message_id")
    if isinstance(found, bool) or not isinstance(found, (str, int, float)):
        return None
    return None if isinstance(found, float) and not math.isfinite(found) else found


def _parse_method(method: Any, message_id: MessageId) -> str:
    if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
        raise BadRequest("The request body must contain a method that is an HTTP method", message_id)
    return method.upper()


def _parse_path(path: Any, message_id: MessageId) -> str:
    if not isinstance(path, str) or not path.startswith("/") or _CONTROL.search(path):
        raise BadRequest("The request body must contain a path that starts with a slash", message_id)
    try:
        return quote(path.partition("#")[0], safe=_URL_CHARACTERS)
    except UnicodeEncodeError:
        raise BadRequest("The request body must contain a path that is valid Unicode", message_id) from None


def _parse_body(contents: Dict[str, Any], message_id: MessageId) -> Tuple[Optional[bytes], bool]:
    text, encoded = contents.get("body"), contents.get("body_base64")
    try:
        if isinstance(encoded, str):
            return base64.b64decode(encoded, validate=True), False
        if isinstance(text, str):
            return text.encode("utf-8"), True
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise BadRequest("What the request body must contain as its body cannot be decoded", message_id) from None
    if text is None and encoded is None:
        return None, False
    raise BadRequest("The request body must contain its body as text", message_id)
