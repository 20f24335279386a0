"""HTTP requests to a Jupyter server on this machine.

HTTP/1.0 (RFC 1945) over a plain socket: the response comes in one piece and ends the connection. Importing http.client
would take as long as all else that finding a healthy server needs.
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
from typing import Any, Literal

IDENTITY_PATH = "/api/remote-runtime/identity"
TOKEN_PATH = "/api/remote-runtime/token"  # noqa: S105  # a path, no secret
MAX_HEAD_BYTES = 65536
MAX_REPLY_BYTES = 65536
MAX_JSON_BYTES = 4 * 1024 * 1024
KERNELSPECS_TIMEOUT_S = 5.0
MAX_KERNELSPECS = 100
DEFAULT_KERNEL = "python3"  # Colab asks for it
# silent: no listener, or no response in time. no-bridge: an HTTP server without the identity path, or one that refuses
# it. ``stranger``: a response without the proof.
Identity = Literal["ours", "silent", "no-bridge", "stranger"]


class NotHttp(ValueError):
    """The response is not HTTP, or not complete."""


def request(
    address: int | str,
    path: str,
    *,
    within_s: float,
    max_bytes: int = MAX_REPLY_BYTES,
    token: str = "",
    method: str = "GET",
    content: bytes = b"",
) -> tuple[int, bytes]:
    """The status and at most ``max_bytes`` of the body. ``address``: a port of 127.0.0.1, or a unix socket's path.

    Raises ``OSError`` (``TimeoutError`` after ``within_s``) and ``NotHttp``."""
    lines = [f"{method} {path} HTTP/1.0", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
    lines += [f"Authorization: token {token}"] if token else []
    until = time.monotonic() + within_s
    with _connect(address, within_s) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        head, body = _read_head(connection, until)
        status, length = _parse_head(head)
        while length is None or len(body) < min(length, max_bytes):
            part = _receive(connection, until)
            if not part and length is not None:
                raise NotHttp("the response is incomplete")
            body += part
            if not part or len(body) > max_bytes:
                break
    return status, bytes(body[:max_bytes])


def check_identity(address: int | str, token: str, timeout_s: float) -> Identity:
    """Whether the runtime's server responds there. It authenticates with the token, which is not sent."""
    return identify(address, token, timeout_s)[0]


def identify(address: int | str, token: str, timeout_s: float, bound_address: str = "") -> tuple[Identity, str]:
    """As ``check_identity``, with the version of the bridge if it is ``ours``. ``bound_address``: the server must also
    prove that it listens at this ``HOST:PORT``."""
    nonce = os.urandom(16).hex()
    path = f"{IDENTITY_PATH}?nonce={nonce}" + (f"&at={bound_address}" if bound_address else "")
    try:
        status, body = request(address, path, within_s=timeout_s)
    except NotHttp:
        return "stranger", ""
    except OSError:
        return "silent", ""
    if status != 200:
        return "no-bridge", ""
    message = f"remote-runtime-identity:{nonce}" + (f"@{bound_address}" if bound_address else "")
    expected = hmac.new(token.encode(), message.encode(), hashlib.sha256).hexdigest()
    document = _parse_object(body)
    if not hmac.compare_digest(str(document.get("hmac")).encode("utf-8", "replace"), expected.encode()):
        return "stranger", ""
    version = document.get("bridge")
    return "ours", version if isinstance(version, str) else ""


def get_json(address: int | str, token: str, path: str, timeout_s: float) -> dict[str, Any]:
    """The JSON object at ``path``, or an empty one. Sends the token: only to a server that is ``ours``."""
    try:
        return _parse_object(request(address, path, within_s=timeout_s, max_bytes=MAX_JSON_BYTES, token=token)[1])
    except (OSError, ValueError):
        return {}


def request_shutdown(address: int | str, token: str, timeout_s: float) -> None:
    """Sends the token: only to a server that is ``ours``."""
    with contextlib.suppress(OSError, NotHttp):
        request(address, "/api/shutdown", within_s=timeout_s, token=token, method="POST")


def change_token(address: int | str, token: str, new_token: str, timeout_s: float) -> int:
    """Give the server a new token; the status of its response. Sends both: only to a server that is ``ours``.

    Raises ``OSError`` and ``NotHttp``."""
    content = json.dumps({"token": new_token}).encode()
    return request(address, TOKEN_PATH, within_s=timeout_s, token=token, method="POST", content=content)[0]


def list_kernelspecs(address: int | str, token: str) -> list[dict[str, str]]:
    """The kernels that the server offers, its default first."""
    return describe_kernelspecs(*read_kernelspecs(address, token))


def read_kernelspecs(address: int | str, token: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The default kernel's name, and each kernel's kernel.json by name; none if the server does not list them in time.

    Source: Jupyter Server's REST API, ``GET /api/kernelspecs``."""
    document = get_json(address, token, "/api/kernelspecs", KERNELSPECS_TIMEOUT_S)
    by_name = document.get("kernelspecs")
    found = by_name.items() if isinstance(by_name, dict) else []
    return str(document.get("default") or ""), {name: _kernel_json(listed) for name, listed in found}


def describe_kernelspecs(default: str, specs: Mapping[str, dict[str, Any]]) -> list[dict[str, str]]:
    names = sorted(specs, key=lambda name: (name != default, name))
    return [describe_kernelspec(name, specs[name]) for name in names[:MAX_KERNELSPECS]]


def missing_kernel_notes(specs: list[dict[str, str]], env: Mapping[str, str]) -> list[str]:
    """A note when the kernel that Colab asks for is not offered, or its program does not exist: no cell can run then.
    ``env``: the server's, which says where it looks for kernels."""
    if specs and DEFAULT_KERNEL not in [spec["name"] for spec in specs]:
        offered = ", ".join(spec["name"] for spec in specs[:5])
        return [
            f"Python notebooks can't run: the server has no kernel {DEFAULT_KERNEL}, only {offered}. "
            "KernelSpecManager.allowed_kernelspecs or kernel_spec_manager_class may hide it"
        ]
    missing = [spec["program"] for spec in specs if spec["name"] == DEFAULT_KERNEL and _is_missing(spec["program"])]
    if not missing:
        return []
    from . import kernelspec

    path, program = kernelspec.find_installed(env, DEFAULT_KERNEL)
    where = f"{path} names it" if program == missing[0] else "its kernel.json names it"
    return [
        f"Cells can't run: the program of the kernel {DEFAULT_KERNEL}, {missing[0]}, does not exist; {where}. On the "
        "machine `python -m ipykernel install --user`, with the Python that cells should run in, replaces it"
    ]


def describe_kernelspec(name: str, spec: Mapping[str, Any]) -> dict[str, str]:
    argv = spec.get("argv")
    return {
        "name": name,
        "program": str(argv[0]) if isinstance(argv, list) and argv else "",
        "display_name": str(spec.get("display_name") or name),
        "language": str(spec.get("language") or ""),
    }


def _kernel_json(listed: Any) -> dict[str, Any]:
    spec = listed.get("spec") if isinstance(listed, dict) else None
    return spec if isinstance(spec, dict) else {}


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
    """The lines before the body, and the part of the body that came with them."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        part = _receive(connection, until)
        received += part
        if not part or len(received) > MAX_HEAD_BYTES:
            raise NotHttp("the response has no headers")
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), body


def _parse_head(head: list[str]) -> tuple[int, int | None]:
    """The status, and the length of the body if there is a Content-Length."""
    version, _, status = head[0].partition(" ")
    if not version.startswith("HTTP/") or not status[:3].isdigit():
        raise NotHttp("the response is not HTTP")
    fields = dict(line.lower().split(":", 1) for line in head[1:] if ":" in line)
    length = fields.get("content-length", "").strip()
    return int(status[:3]), int(length) if length.isdigit() else None


def _receive(connection: socket.socket, until: float) -> bytes:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no response in time")
    connection.settimeout(left_s)
    return connection.recv(65536)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_missing(program: str) -> bool:
    return os.path.isabs(program) and not os.access(program, os.X_OK)
