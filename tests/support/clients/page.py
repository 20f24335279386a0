"""What a page of Colab does with the URL, by hand: REST, the bridge, and cells over a kernel's WebSocket."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

COLAB = "https://colab.research.google.com"
WITHIN_S = 30.0


class Page:
    """Knows the URL and nothing else."""

    def __init__(self, url: str, origin: str = COLAB) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.netloc
        self.token = parse_qs(parts.query)["token"][0]
        self.origin = origin

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        within_s: float = WITHIN_S,
    ) -> tuple[int, Any]:
        """Status, and the JSON (or the text) of the answer."""
        request = urllib.request.Request(
            f"http://{self.host}{path}{'&' if '?' in path else '?'}token={self.token}",
            data=body,
            method=method,
            headers={"Origin": self.origin, **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=within_s) as answer:  # noqa: S310  # http by construction
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error.read())

    def start_kernel(self) -> str:
        status, kernel = self.ask("POST", "/api/kernels", b"{}")
        assert status == 201, kernel
        return str(kernel["id"])

    def run(self, kernel: str, code: str) -> str:
        """What the cell prints, over the direct transport."""
        with self.channels(kernel) as channels:
            return execute(channels, code)

    def channels(self, kernel: str) -> ClientConnection:
        """The kernel's WebSocket, for more than one ``execute``."""
        return self._connect(f"/api/kernels/{kernel}/channels?token={self.token}")

    def begin(self, kernel: str, code: str) -> None:
        """Run the cell, and do not wait for it."""
        with self._connect(f"/api/kernels/{kernel}/channels?token={self.token}") as channels:
            _begin(channels, code)

    def run_bridged(self, kernel: str, code: str) -> str:
        """What the cell prints, over the bridge's ``proxied_ws``."""
        path = f"/http_over_websocket/proxied_ws/api/kernels/{kernel}/channels?{self._bridge_query()}"
        with self._connect(path) as channels:
            return execute(channels, code)

    def ask_bridged(self, method: str, path: str) -> dict[str, Any]:
        """The first message of the bridge's answer."""
        with self._connect(f"/http_over_websocket?{self._bridge_query()}") as bridge:
            bridge.send(json.dumps({"path": path, "method": method, "message_id": "m"}))
            return dict(json.loads(bridge.recv(timeout=WITHIN_S)))

    def _bridge_query(self) -> str:
        return f"min_version=0.0.7&jupyter_http_over_ws_auth_url={quote(self.url, safe='')}"

    def _connect(self, path: str) -> ClientConnection:
        return connect(
            f"ws://{self.host}{path}", origin=Origin(self.origin), open_timeout=WITHIN_S, ping_interval=None, proxy=None
        )


def execute(channels: ClientConnection, code: str) -> str:
    """What the cell prints."""
    number = _begin(channels, code)
    printed = ""
    while True:
        said = json.loads(channels.recv(timeout=WITHIN_S))
        if said["parent_header"].get("msg_id") != number:
            continue
        if said["msg_type"] == "stream":
            printed += said["content"]["text"]
        if said["msg_type"] == "status" and said["content"]["execution_state"] == "idle":
            return printed.strip()


def _begin(channels: ClientConnection, code: str) -> str:
    """The number of the cell. A kernel refuses a message that it has seen before."""
    number = uuid.uuid4().hex
    channels.send(json.dumps(execute_request(number, code)))
    return number


def execute_request(number: str, code: str) -> dict[str, Any]:
    """A message of Jupyter's protocol 5 that runs a cell."""
    header = {"msg_id": number, "username": "", "session": number, "msg_type": "execute_request", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "user_expressions": {}}
    message = {"header": {**header, "date": ""}, "parent_header": {}, "metadata": {}, "content": content}
    return {**message, "channel": "shell", "buffers": []}


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
