"""A Jupyter server extension with pages that behave oddly, to see what the bridge makes of them."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

CHUNK = b"x" * 100_000


class Page(RequestHandler):
    def check_xsrf_cookie(self) -> None:
        """These pages have no secrets and change nothing."""


class Echo(Page):
    SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS, "PROPFIND")

    def propfind(self) -> None:
        """The answer is given before; jupyter_server wants the method to exist."""

    async def prepare(self) -> None:
        headers = sorted(self.request.headers.get_all())
        seen = {"method": self.request.method, "uri": self.request.uri, "headers": headers}
        self.finish(json.dumps({**seen, "body": self.request.body.decode("latin1")}))


class Checked(RequestHandler):
    """POST passes tornado's own XSRF check, as in an extension that knows nothing of Jupyter's tokens."""

    def post(self) -> None:
        cookie = self.get_cookie("_xsrf")
        self.finish({"query": self.get_query_argument("_xsrf") == cookie, "uri": self.request.uri})


class Twice(Page):
    def get(self) -> None:
        self.add_header("X-Twice", "one")
        self.add_header("X-Twice", "two")
        self.set_header("Connection", "close")
        self.set_header("Transfer-Encoding", "identity")


class Raises(Page):
    def get(self) -> None:
        raise RuntimeError(f"failed at {self.request.uri} with {self.request.headers.get('Authorization')}")


class CannotBeMade(Page):
    def initialize(self) -> None:
        raise RuntimeError("no such luck")


class Moved(Page):
    def get(self) -> None:
        self.redirect("/somewhere/else")


class Gate(Page):
    """GET waits until somebody POSTs; ``/odd/gate?count`` tells how many wait, and how many clients left meanwhile."""

    opened: asyncio.Event | None = None
    waiting = 0
    left = 0

    def initialize(self) -> None:
        Gate.opened = Gate.opened or asyncio.Event()

    async def get(self) -> None:
        if self.get_query_argument("count", None) is not None:
            self.finish({"waiting": Gate.waiting, "left": Gate.left})
            return
        assert Gate.opened is not None
        Gate.waiting += 1
        await Gate.opened.wait()
        Gate.waiting -= 1
        self.finish("through")

    def post(self) -> None:
        assert Gate.opened is not None
        Gate.opened.set()
        Gate.opened = None

    def on_connection_close(self) -> None:
        Gate.left += 1


class Lump(Page):
    """GET writes ``bytes`` bytes at once."""

    def get(self) -> None:
        self.finish(b"x" * int(self.get_query_argument("bytes")))


class Drops(Page):
    """GET sends its headers, then two writes, each when the one before it is gone."""

    async def get(self) -> None:
        for drop in ("", "one", "two"):
            self.write(drop)
            await self.flush()
            await asyncio.sleep(0)


@stream_request_body
class Streamed(Page):
    """PUT takes its body as it comes, and slowly."""

    def initialize(self) -> None:
        self.received = 0

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.received += len(chunk)

    async def put(self) -> None:
        self.finish({"bytes": self.received, "ended": True})


class Endless(Page):
    """GET writes for ever, waiting for each write; ``/odd/endless?count`` tells how much, and whether it ended."""

    written = 0
    ended = False

    async def get(self) -> None:
        if self.get_query_argument("count", None) is not None:
            self.finish({"written": Endless.written, "ended": Endless.ended})
            return
        try:
            while True:
                self.write(CHUNK)
                await self.flush()
                Endless.written += len(CHUNK)
        except StreamClosedError:
            Endless.ended = True


class LastClose(Page):
    def get(self) -> None:
        self.finish(Talker.last_close)


class Talker(WebSocketHandler):
    """Echoes; ``close CODE REASON`` closes, ``nodelay`` asks whether the connection sends at once.

    ``/odd/last-close`` tells with which words the last of them was closed.
    """

    last_close: dict[str, Any] = {}

    def check_origin(self, origin: str) -> bool:
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[-1] if subprotocols else None

    def open(self, *args: str, **kwargs: str) -> None:
        asked = {"uri": self.request.uri, "x": self.get_argument("x", None)}
        authorization = self.request.headers.get("Authorization")
        self.write_message(json.dumps({**asked, "authorization": authorization}))

    def on_close(self) -> None:
        Talker.last_close = {"code": self.close_code, "reason": self.close_reason}

    def on_message(self, message: str | bytes) -> None:
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            self.close(int(code), reason)
        elif message == "nodelay":
            tcp = self.ws_connection.stream.socket  # type: ignore[union-attr]  # an open socket has both
            self.write_message(json.dumps(bool(tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))))
        else:
            self.write_message(message, binary=isinstance(message, bytes))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


_jupyter_server_extension_paths = _jupyter_server_extension_points


def _load_jupyter_server_extension(server_app: Any) -> None:
    pages = {
        "echo": Echo,
        "checked": Checked,
        "twice": Twice,
        "raises": Raises,
        "cannot-be-made": CannotBeMade,
        "moved": Moved,
        "gate": Gate,
        "lump": Lump,
        "drops": Drops,
        "streamed": Streamed,
        "endless": Endless,
        "last-close": LastClose,
        "ws": Talker,
    }
    server_app.web_app.add_handlers(".*$", [(f"/odd/{name}", handler) for name, handler in pages.items()])


load_jupyter_server_extension = _load_jupyter_server_extension
