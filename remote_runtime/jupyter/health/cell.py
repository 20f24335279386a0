"""Runs a cell in a new kernel, over the connection that Colab's page uses."""

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
from .endpoint import Endpoint, open_websocket, request

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

CODE, EXPECTED_OUTPUT = "print(6*7)", "42"
END_S = 10.0
RECEIVE_TIMEOUT_S = 0.5


def run_cell(endpoint: Endpoint, deadline: Deadline) -> float:
    """Start a kernel, run a cell in it, end it. Returns the seconds that it took.

    Raises ``HealthError`` ``kernel-did-not-answer`` or ``not-answering``, and ``Interrupted``; the kernel is ended then
    too, if possible.
    """
    began = time.monotonic()
    kernel = _start(endpoint, deadline)
    try:
        printed = _run(endpoint, kernel, deadline)
    except BaseException:
        with contextlib.suppress(HealthError):  # the first error is reported
            _end(endpoint, kernel)
        raise
    _end(endpoint, kernel)
    if printed != EXPECTED_OUTPUT:
        raise _no_reply_error("The kernel did not run a cell", f"`{CODE}` printed {clean_line(printed, 200)!r}")
    return time.monotonic() - began


def _start(endpoint: Endpoint, deadline: Deadline) -> str:
    response = request(endpoint, "POST", "/api/kernels", {"Origin": endpoint.origins[0]}, deadline)
    document = response.document()
    match document:
        case {"id": str(kernel)} if response.status == 201 and kernel.replace("-", "").isalnum():
            return kernel
    said = document.get("message", "") if isinstance(document, dict) else ""
    raise _no_reply_error("Jupyter can't start a kernel", clean_line(f"status {response.status} {said}", 300))


def _end(endpoint: Endpoint, kernel: str) -> None:
    status = request(endpoint, "DELETE", f"/api/kernels/{kernel}", {}, Deadline(END_S)).status
    if status not in (204, 404):  # 404: it has ended already
        raise _no_reply_error("Jupyter can't stop the check's kernel", f"status {status} for kernel {kernel}")


def _run(endpoint: Endpoint, kernel: str, deadline: Deadline) -> str:
    from websockets.exceptions import WebSocketException

    token, number = quote(endpoint.token.reveal(), safe=""), secrets.token_hex(16)
    path = f"/api/kernels/{kernel}/channels?session_id={secrets.token_hex(16)}&token={token}"
    try:
        with open_websocket(endpoint, path, endpoint.origins[0], max(0.1, deadline.remaining_s())) as channels:
            channels.send(json.dumps(_request(number)))
            return "".join(_read_output(channels, number, deadline))
    except (WebSocketException, OSError, ValueError, RecursionError) as error:
        why = clean_line(str(error).replace(token, "***"), 200)  # before the cut: a part of the token would remain
        raise _no_reply_error("The connection to the kernel was lost", why) from error


def _read_output(channels: ClientConnection, number: str, deadline: Deadline) -> Iterator[str]:
    while True:
        deadline.check()
        if deadline.passed():
            raise _no_reply_error("The kernel does not respond", f"no output in {deadline.timeout_s:.0f} s")
        try:
            message = json.loads(channels.recv(timeout=min(RECEIVE_TIMEOUT_S, max(0.05, deadline.remaining_s()))))
        except TimeoutError:
            continue
        match message:
            case {"parent_header": {"msg_id": str(parent)}, "msg_type": kind, "content": dict(content)} if (
                parent == number
            ):
                if kind == "stream":
                    yield str(content.get("text", "")).strip()
                elif kind == "error":
                    yield str(content.get("evalue", ""))
                elif kind == "status" and content.get("execution_state") == "idle":
                    return


def _request(number: str) -> dict[str, Any]:
    """``execute_request`` of Jupyter's messaging protocol 5.3, in the JSON framing of its WebSocket."""
    header = {"msg_id": number, "session": number, "msg_type": "execute_request", "username": "", "version": "5.3"}
    content = {"code": CODE, "silent": False, "store_history": False, "allow_stdin": False, "user_expressions": {}}
    message = {"parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}
    return {**message, "header": {**header, "date": ""}}


def _no_reply_error(what: str, why: str) -> HealthError:
    return HealthError(
        "kernel-did-not-answer", what, why, "See the kernel's output: `remote-runtime logs PROFILE --server`"
    )
