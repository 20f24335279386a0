"""One question to an HTTP server of this machine. In HTTP/1.0 (RFC 1945) its answer comes in one piece and ends the
connection; importing http.client would take as long as all the rest of a look at a healthy server.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

MAX_HEAD_BYTES = 65536


class NotHttp(ValueError):
    """What came is no answer of an HTTP server, or not all of it."""


def request(
    address: int | str,
    path: str,
    *,
    within_s: float,
    max_bytes: int,
    token: str = "",
    method: str = "GET",
    body_to_send: bytes = b"",
) -> tuple[int, bytes]:
    """The status and at most ``limit`` bytes of the body. ``place``: a port of 127.0.0.1, or the path of a unix socket.

    Raises ``OSError`` (``TimeoutError`` after ``within_s`` at the latest) and ``NotHttp``."""
    lines = [f"{method} {path} HTTP/1.0", "Host: 127.0.0.1", f"Content-Length: {len(body_to_send)}"]
    lines += [f"Authorization: token {token}"] if token else []
    until = time.monotonic() + within_s
    with _connect(address, within_s) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body_to_send)
        head, body = _read_head(connection, until)
        status, length = _parse_head(head)
        while length is None or len(body) < min(length, max_bytes):
            part = _receive(connection, until)
            if not part and length is not None:
                raise NotHttp("the answer is cut short")
            body += part
            if not part or len(body) > max_bytes:
                break
    return status, bytes(body[:max_bytes])


def _connect(address: int | str, within_s: float) -> socket.socket:
    if isinstance(address, int) or sys.platform == "win32":
        return socket.create_connection(("127.0.0.1", int(address)), within_s)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(within_s)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_head(connection: socket.socket, until: float) -> tuple[list[str], bytearray]:
    """The lines before the body, and what has come of the body."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        part = _receive(connection, until)
        received += part
        if not part or len(received) > MAX_HEAD_BYTES:
            raise NotHttp("the answer has no head")
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), body


def _parse_head(head: list[str]) -> tuple[int, int | None]:
    """The status, and the length of the body if it is told."""
    version, _, status = head[0].partition(" ")
    if not version.startswith("HTTP/") or not status[:3].isdigit():
        raise NotHttp("the answer does not begin as HTTP does")
    fields = dict(line.lower().split(":", 1) for line in head[1:] if ":" in line)
    length = fields.get("content-length", "").strip()
    return int(status[:3]), int(length) if length.isdigit() else None


def _receive(connection: socket.socket, until: float) -> bytes:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no answer in time")
    connection.settimeout(left_s)
    return connection.recv(65536)


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
        status, body = request(address, path, within_s=timeout_s, max_bytes=MAX_REPLY_BYTES)
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
        _, body = request(address, path, within_s=timeout_s, max_bytes=MAX_JSON_BYTES, token=token)
        document = json.loads(body.decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def request_shutdown(address: int | str, token: str, timeout_s: float) -> None:
    """Ask the server to end. Only after ``check`` said ``ours``: this sends the token."""
    with contextlib.suppress(OSError, NotHttp):
        request(address, "/api/shutdown", within_s=timeout_s, max_bytes=MAX_REPLY_BYTES, token=token, method="POST")


def change_token(address: int | str, token: str, new_token: str, timeout_s: float) -> int:
    """Give the server a new token; the status of its answer. Only after ``check`` said ``ours``: this sends both.

    Raises ``OSError`` and ``NotHttp``."""
    body = json.dumps({"token": new_token}).encode()
    return request(
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


KERNELSPECS_TIMEOUT_S = 5.0
MAX_KERNELSPECS = 100
DEFAULT_KERNEL = "python3"  # what Colab asks for


def list_kernelspecs(address: int | str, token: str) -> list[dict[str, str]]:
    """The default first, then by name; empty when the server does not say. Sends the token: only to a proven server,
    or one that is known to be the user's.

    Source: Jupyter Server's REST API, ``GET /api/kernelspecs``."""
    answer = get_json(address, token, "/api/kernelspecs", KERNELSPECS_TIMEOUT_S)
    by_name = answer.get("kernelspecs")
    specs = by_name if isinstance(by_name, dict) else {}
    first = answer.get("default")
    return [
        parse_kernelspec(name, specs[name])
        for name in sorted(specs, key=lambda name: (name != first, name))[:MAX_KERNELSPECS]
    ]


def missing_kernel_notes(specs: list[dict[str, str]], env: Mapping[str, str]) -> list[str]:
    """What to tell when the kernel that Colab asks for is not offered, or its program is not there: no cell can run.
    ``env``: the server's, which says where it looks for kernels."""
    if specs and DEFAULT_KERNEL not in [spec["name"] for spec in specs]:
        offered = ", ".join(spec["name"] for spec in specs[:5])
        return [
            f"no cell of a Python notebook can run: the server offers no kernel {DEFAULT_KERNEL}, only {offered}; "
            "KernelSpecManager.allowed_kernelspecs or kernel_spec_manager_class may hide it"
        ]
    missing = [spec["program"] for spec in specs if spec["name"] == DEFAULT_KERNEL and is_missing(spec["program"])]
    if not missing:
        return []
    from . import kernelspec

    path, program = kernelspec.find_installed(env, DEFAULT_KERNEL)
    where = f"{path} names it" if program == missing[0] else "its kernel.json names it"
    return [
        f"no cell can run: the program of the kernel {DEFAULT_KERNEL}, {missing[0]}, is not there; {where}. On the "
        "machine `python -m ipykernel install --user`, with the Python that cells should run in, replaces it"
    ]


def is_missing(program: str) -> bool:
    return os.path.isabs(program) and not os.access(program, os.X_OK)


def parse_kernelspec(name: str, document: Any) -> dict[str, str]:
    spec = document.get("spec") if isinstance(document, dict) else None
    values = spec if isinstance(spec, dict) else {}
    argv = values.get("argv")
    return {
        "name": name,
        "program": str(argv[0]) if isinstance(argv, list) and argv else "",
        "display_name": str(values.get("display_name") or name),
        "language": str(values.get("language") or ""),
    }
