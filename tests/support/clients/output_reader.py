"""Clients of kernels that come and go, and a reader of what was recorded meanwhile."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.clients.page import execute_request
from tests.support.environment.waiting import eventually
from tests.support.servers.jupyter import JupyterServer

LIMIT_S = 30.0


class Tab:
    """A page's WebSocket to one kernel. ``received``: the messages of the kernel that it got."""

    def __init__(self, channels: ClientConnection) -> None:
        self._channels = channels
        self.received: list[dict[str, Any]] = []

    def begin(self, code: str, *, allow_stdin: bool = False) -> str:
        """Run a cell, and do not wait for it; its id."""
        request = uuid.uuid4().hex
        message = execute_request(request, code)
        message["content"]["allow_stdin"] = allow_stdin
        self._channels.send(json.dumps(message))
        return request

    def run(self, code: str) -> None:
        """Run a cell to its end."""
        request = self.begin(code)

        def ended(message: dict[str, Any]) -> bool:
            is_idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
            return bool(is_idle and message["parent_header"].get("msg_id") == request)

        self.receive_until(ended)

    def answer(self, text: str) -> None:
        """To the ``input()`` of a cell."""
        header = {"msg_id": uuid.uuid4().hex, "username": "", "session": "s", "msg_type": "input_reply"}
        header = {**header, "version": "5.3", "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": {"value": text}}
        self._channels.send(json.dumps({**message, "channel": "stdin", "buffers": []}))

    def receive_until(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            message = json.loads(self._channels.recv(timeout=LIMIT_S))
            self.received.append(message)
            if found(message):
                return dict(message)

    def receive_text(self, text: str) -> None:
        self.receive_until(lambda _: text in stream_text(self.received))

    def close(self) -> None:
        """Close it, and receive what was on its way."""
        self._channels.close()

    def receive_rest(self) -> None:
        """All that arrives before the server closes it."""
        try:
            while True:
                self.received.append(json.loads(self._channels.recv(timeout=LIMIT_S)))
        except ConnectionClosed:
            return


@contextmanager
def open_tab(server: JupyterServer, kernel: str, *, port: int = 0, session: str = "") -> Iterator[Tab]:
    """``port``: of this computer, forwarded to the server's. ``session``: the page's own id for the connection."""
    query = f"?token={server.token}&session_id={session or uuid.uuid4().hex}"
    url = f"ws://127.0.0.1:{port or server.port}/api/kernels/{kernel}/channels{query}"
    with connect(url, open_timeout=LIMIT_S, close_timeout=2, ping_interval=None, max_size=None, proxy=None) as channels:
        yield Tab(channels)


def start_kernel(server: JupyterServer) -> str:
    return str(ask(server, "POST", "/api/kernels", "{}")["id"])


def ask(server: JupyterServer, method: str, path: str, body: str | None = None) -> Any:
    """The JSON of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    try:
        connection.request(method, path, body, {"Authorization": f"token {server.token}"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status < 300, (answer.status, content)
        return json.loads(content) if content else None
    finally:
        connection.close()


def read_outputs(server: JupyterServer, kernel: str = "") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head, and the messages."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    try:
        path = f"/api/remote-runtime/outputs?kernel={kernel}"
        connection.request("GET", path, headers={"Authorization": f"token {server.token}"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        head, *messages = [json.loads(line) for line in answer.read().splitlines()]
        return head, messages
    finally:
        connection.close()


def wait_for_text(server: JupyterServer, kernel: str, text: str, *, within_s: float = LIMIT_S) -> list[dict[str, Any]]:
    """The messages once the streams among them contain ``text``."""

    def recorded() -> list[dict[str, Any]] | None:
        messages = read_outputs(server, kernel)[1]
        return messages if text in stream_text(messages) else None

    found = eventually(recorded, within_s=within_s, what=f"{text} in the record")
    assert found is not None
    return found


def stream_text(messages: list[dict[str, Any]]) -> str:
    """What the cells printed, of messages of a WebSocket or of the record."""
    return "".join(
        each["content"]["text"] for each in messages if (each.get("msg_type") or each.get("type")) == "stream"
    )
