"""A WebSocket to a kernel, through the runtime's local port: a stream that outlives the loss of the SSH connection."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..core.deadline import Deadline
from ..core.errors import HealthError
from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean_line
from .health.endpoint import Endpoint, verify

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

MAX_MESSAGE_BYTES = 256 << 20
# The bridge neither logs nor counts it, and records what is published although this client receives it.
HEADERS = {"X-Remote-Runtime": "exec"}
PROTOCOL_VERSION = "5.3"  # of Jupyter's messages


@fast_dataclass(frozen=True)
class KernelMessage:
    """As in Jupyter's messaging protocol, unverified. ``request``: the id of the message that it belongs to."""

    type: str
    channel: str
    request: str
    content: Mapping[str, Any]


class KernelConnectionLost(Exception):
    """The WebSocket is closed; the kernel may still run."""


class KernelConnection:
    """``session``: the same for a connection that continues another one. One thread receives; any may send."""

    def __init__(self, endpoint: Endpoint, kernel: str, *, is_recorded: bool = True) -> None:
        self.kernel = kernel
        self.session = secrets.token_hex(16)
        self._endpoint = endpoint
        self._headers = HEADERS if is_recorded else {}
        self._channels: ClientConnection | None = None
        self._closing = contextlib.ExitStack()

    def open(self, deadline: Deadline) -> None:
        """Also to open it again. Raises ``HealthError``."""
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        self.close()
        verify(self._endpoint, deadline)
        timeout_s = max(0.1, deadline.remaining_s())
        token = self._endpoint.token.reveal()
        try:
            opening = connect(
                f"ws://localhost:{self._endpoint.port}/api/kernels/{quote(self.kernel)}/channels"
                f"?session_id={self.session}",
                sock=self._endpoint.open(timeout_s),
                additional_headers={**self._headers, "Authorization": f"token {token}"},
                open_timeout=timeout_s,
                close_timeout=2,
                ping_interval=None,  # the stream outlives an outage
                compression=None,
                proxy=None,
                max_size=MAX_MESSAGE_BYTES,
            )
            self._channels = self._closing.enter_context(opening)
            self._channels.socket.settimeout(None)
        except (WebSocketException, OSError) as error:
            why = clean_line(str(error).replace(token, "***") if token else str(error), 200)
            raise HealthError("not-answering", "Can't connect to the kernel", why) from error

    def execute(self, code: str, *, silent: bool, stop_on_error: bool = False, number: str = "") -> str:
        """Send an ``execute_request``; its id, which is ``number`` if there is one. Raises ``KernelConnectionLost``."""
        content = {"code": code, "silent": silent, "store_history": not silent, "user_expressions": {}}
        content = {**content, "allow_stdin": False, "stop_on_error": stop_on_error}
        return self.send("execute_request", "shell", content, number)

    def send(self, kind: str, channel: str, content: Mapping[str, Any], number: str = "") -> str:
        """The message's id. Raises ``KernelConnectionLost``."""
        from websockets.exceptions import WebSocketException

        number = number or secrets.token_hex(16)
        header = {"msg_id": number, "session": self.session, "msg_type": kind, "username": "", "date": ""}
        message = {"header": {**header, "version": PROTOCOL_VERSION}, "parent_header": {}, "metadata": {}}
        try:
            if self._channels is None:
                raise KernelConnectionLost
            self._channels.send(json.dumps({**message, "content": content, "channel": channel, "buffers": []}))
        except (WebSocketException, OSError) as error:
            raise KernelConnectionLost from error
        return number

    def receive(self, timeout_s: float) -> KernelMessage | None:
        """The next message; None if none comes in time. Raises ``KernelConnectionLost``."""
        from websockets.exceptions import WebSocketException

        if self._channels is None:
            raise KernelConnectionLost
        try:
            return _message(self._channels.recv(timeout=timeout_s))
        except TimeoutError:
            return None
        except (WebSocketException, OSError) as error:
            raise KernelConnectionLost from error

    def close(self) -> None:
        self._channels = None
        self._closing.close()


def _message(text: str | bytes) -> KernelMessage | None:
    """None for what is no message. Binary ones have buffers after their text: of widgets."""
    try:
        if isinstance(text, bytes):
            start, end = int.from_bytes(text[4:8], "big"), int.from_bytes(text[8:12], "big")
            text = text[start : end if text[:4] != b"\0\0\0\1" else len(text)]
        document = json.loads(text)
        parent, content = document.get("parent_header") or {}, document["content"]
        if not isinstance(content, dict):
            return None
        kind, channel = str(document["header"]["msg_type"]), str(document.get("channel") or "")
        return KernelMessage(kind, channel, str(parent.get("msg_id") or ""), content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
