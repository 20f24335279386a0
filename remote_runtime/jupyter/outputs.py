"""Reads the outputs that the bridge recorded, through the local port."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from ..core.deadline import Deadline
from ..core.errors import HealthError, MachineError
from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean_line
from .health.endpoint import OWN_REQUEST_HEADERS, Endpoint, verify

PATH = "/api/remote-runtime/outputs"
SILENCE_TIMEOUT_S = 60.0
READ_BYTES = 256 << 10
MAX_LINE_BYTES = 256 << 20
MAX_KERNELS = 1000


@fast_dataclass(frozen=True)
class RecordedKernel:
    """``path``: the notebook's, empty if unknown. ``cut``: what of its outputs is lost, in words; empty if nothing
    is."""

    id: str
    path: str
    is_running: bool
    requests: int
    size: int
    cut: str


@fast_dataclass(frozen=True)
class OutputEvent:
    """A message of a kernel. ``type`` and ``content``: as in Jupyter's protocol, unverified. ``at``: seconds since the
    epoch. ``earlier``: the code of a request whose first output a page has received."""

    kernel: str
    request: str
    type: str
    at: float
    earlier: bool
    content: Mapping[str, Any]


@fast_dataclass(frozen=True)
class OutputRecord:
    """``events``: in order, read as they are needed. ``paused``: why nothing is recorded now; empty if it is."""

    kernels: tuple[RecordedKernel, ...]
    paused: str
    events: Iterator[OutputEvent]


@contextlib.contextmanager
def open_record(
    endpoint: Endpoint, deadline: Deadline, *, kernel: str = "", follow: bool = False
) -> Iterator[OutputRecord]:
    """The recorded outputs of ``kernel``, or of all. With ``follow`` the events never end. Raises ``HealthError``, and
    ``MachineError`` ``outputs-not-recorded``; so does the iterator."""
    import http.client

    verify(endpoint, deadline)
    connection = http.client.HTTPConnection("localhost", endpoint.port)
    try:
        with _readable_errors():
            connection.sock = endpoint.open(max(0.1, deadline.remaining_s()))
            connection.sock.settimeout(SILENCE_TIMEOUT_S)
            query = urlencode({"kernel": kernel, "follow": int(follow)})
            headers = {**OWN_REQUEST_HEADERS, "Authorization": f"token {endpoint.token.reveal()}"}
            connection.request("GET", f"{PATH}?{query}", headers=headers)
            response = connection.getresponse()
            if response.status == 404:
                raise MachineError("outputs-not-recorded", "This runtime does not record outputs")
            if response.status != 200:
                raise HealthError("not-answering", "Jupyter does not send the outputs", f"status {response.status}")
            lines = _lines(response)
            document = json.loads(next(lines, b""))
            kernels = tuple(_kernel(each) for each in document["kernels"][:MAX_KERNELS])
            paused = clean_line(document["paused"], 200)
        if follow:
            connection.sock.settimeout(None)
        yield OutputRecord(kernels, paused, _events(lines))
    finally:
        connection.close()


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    """Errors of the connection and of what arrived as ``HealthError``."""
    import http.client

    try:
        yield
    except TimeoutError as error:
        why = f"no data for {SILENCE_TIMEOUT_S:.0f} s"
        raise HealthError("not-answering", "Jupyter accepts connections but does not respond", why) from error
    except (OSError, http.client.HTTPException) as error:
        why = clean_line(str(error) or type(error).__name__, 200)
        raise HealthError("not-answering", "The connection to Jupyter was lost", why) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HealthError("not-answering", "The bridge sent an invalid record of outputs") from error


def _lines(response: Any) -> Iterator[bytes]:
    """Raises ``ValueError`` for a line that is too long."""
    pieces: list[bytes] = []
    size = 0
    while content := response.read1(READ_BYTES):
        first, *others = content.split(b"\n")
        pieces.append(first)
        for piece in others:
            yield b"".join(pieces)
            pieces, size = [piece], 0
        size += len(pieces[-1])
        if size > MAX_LINE_BYTES:
            raise ValueError("a line is too long")
    if response.length or any(pieces):
        raise ConnectionError("the record ends early")


def _events(lines: Iterator[bytes]) -> Iterator[OutputEvent]:
    """Without those whose content is no JSON object: kernels write what they want."""
    while True:
        with _readable_errors():
            line = next(lines, b"")
            event = _event(line) if line else None
        if not line:
            return
        if event is not None:
            yield event


def _event(line: bytes) -> OutputEvent | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content := document.get("content"), dict):
        return None
    kernel, request, kind = (str(document[name]) for name in ("kernel", "request", "type"))
    return OutputEvent(kernel, request, kind, float(document["at"]), document["earlier"] is True, content)


def _kernel(document: Mapping[str, Any]) -> RecordedKernel:
    cut = document["cut"]
    name, path = (clean_line(str(document[key] or ""), 200) for key in ("id", "path"))
    lost = ""
    if cut:
        count = int(cut["messages"])
        messages = "1 message" if count == 1 else f"{count} messages"
        lost = f"{messages} ({int(cut['bytes'])} bytes): {clean_line(cut['why'], 200)}"
    return RecordedKernel(
        name, path, document["running"] is True, int(document["requests"]), int(document["bytes"]), lost
    )
