"""One cell in a kernel of its own, over the connection that Colab's page uses."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...core.deadline import Deadline
from ...core.errors import HealthError
from ...core.sanitize import clean_line
from .endpoint import MAX_RESPONSE_BYTES, OWN_REQUEST_HEADERS, Endpoint, request

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

CODE, EXPECTED_OUTPUT = "print(6*7)", "42"
END_S = 10.0
RECEIVE_TIMEOUT_S = 0.5


def run_cell(endpoint: Endpoint, deadline: Deadline) -> float:
    """Start a kernel, run a cell in it, end it. The seconds that took.

    Raises ``HealthError`` ``kernel-did-not-answer`` or ``not-answering``, ``Interrupted``; the kernel is ended then
    too, if Jupyter lets us.
    """
    began = time.monotonic()
    kernel = _start(endpoint, deadline)
    try:
        printed = _run(endpoint, kernel, deadline)
    except BaseException:
        with contextlib.suppress(HealthError):  # what came first is what is told
            _end(endpoint, kernel)
        raise
    _end(endpoint, kernel)
    if printed != EXPECTED_OUTPUT:
        raise _no_reply_error("The kernel does not run a cell", f"`{CODE}` printed {clean_line(printed, 200)!r}")
    return time.monotonic() - began


def _start(endpoint: Endpoint, deadline: Deadline) -> str:
    response = request(endpoint, "POST", "/api/kernels", {"Origin": endpoint.origins[0]}, deadline)
    document = response.document()
    match document:
        case {"id": str(kernel)} if response.status == 201 and kernel.replace("-", "").isalnum():
            return kernel
    said = document.get("message", "") if isinstance(document, dict) else ""
    raise _no_reply_error("Jupyter does not start a kernel", clean_line(f"it answered {response.status} {said}", 300))


def _end(endpoint: Endpoint, kernel: str) -> None:
    status = request(endpoint, "DELETE", f"/api/kernels/{kernel}", {}, Deadline(END_S)).status
    if status not in (204, 404):  # the second: it has died before
        raise _no_reply_error(
            "Jupyter does not end the kernel of the check", f"it answered {status}; the kernel is {kernel}"
        )


def _run(endpoint: Endpoint, kernel: str, deadline: Deadline) -> str:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Origin

    limit_s = max(0.1, deadline.remaining_s())
    token = quote(endpoint.token.reveal(), safe="")
    try:
        with connect(
            f"ws://localhost:{endpoint.port}/api/kernels/{kernel}/channels?session_id={secrets.token_hex(16)}&token={token}",
            sock=endpoint.open(limit_s),
            origin=Origin(endpoint.origins[0]),
            additional_headers=OWN_REQUEST_HEADERS,
            open_timeout=limit_s,
            close_timeout=2,
            proxy=None,
            max_size=MAX_RESPONSE_BYTES,
        ) as channels:
            number = secrets.token_hex(16)
            channels.send(json.dumps(_request(number)))
            return "".join(_read_output(channels, number, deadline))
    except (WebSocketException, OSError, ValueError, RecursionError) as error:
        why = clean_line(str(error).replace(token, "***"), 200)  # a token that is cut short would not be found
        raise _no_reply_error("The kernel's connection broke", why) from error


def _read_output(channels: ClientConnection, number: str, deadline: Deadline) -> Iterator[str]:
    while True:
        deadline.check()
        if deadline.passed():
            raise _no_reply_error("The kernel does not answer", f"it ran no cell within {deadline.timeout_s:.0f} s")
        try:
            message = json.loads(channels.recv(timeout=min(RECEIVE_TIMEOUT_S, max(0.05, deadline.remaining_s()))))
        except TimeoutError:
            continue
        match message:
            case {"parent_header": {"msg_id": str(parent_id)}, "msg_type": kind, "content": dict(content)} if (
                parent_id == number
            ):
                if kind == "stream":
                    yield str(content.get("text", "")).strip()
                elif kind == "error":
                    yield str(content.get("evalue", ""))
                elif kind == "status" and content.get("execution_state") == "idle":
                    return


def _request(number: str) -> dict[str, Any]:
    """``execute_request`` of Jupyter's messaging protocol 5.3, on the WebSocket's JSON framing."""
    header = {"msg_id": number, "session": number, "msg_type": "execute_request", "username": "", "version": "5.3"}
    content = {"code": CODE, "silent": False, "store_history": False, "allow_stdin": False, "user_expressions": {}}
    return {
        "header": {**header, "date": ""},
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


def _no_reply_error(what: str, why: str) -> HealthError:
    return HealthError(
        "kernel-did-not-answer", what, why, "`remote-runtime logs PROFILE --server` shows what the kernel said"
    )
