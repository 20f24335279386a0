"""A Jupyter server extension with what ``scripts/bench tunnel`` loads: a small page, transfers, and an echo."""

from __future__ import annotations

from typing import Any

from tornado.web import RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

_PIECE = b"x" * (1 << 20)


class _Page(RequestHandler):
    def check_xsrf_cookie(self) -> None:
        """These pages have no secrets and change nothing."""


class Small(_Page):
    def get(self) -> None:
        self.finish(b"x" * 1024)


class Download(_Page):
    async def get(self) -> None:
        left = int(self.get_query_argument("bytes"))
        self.set_header("Content-Length", left)
        while left:
            piece = _PIECE[:left]
            self.write(piece)
            await self.flush()
            left -= len(piece)


@stream_request_body
class Upload(_Page):
    def initialize(self) -> None:
        self._received = 0

    def data_received(self, chunk: bytes) -> None:
        self._received += len(chunk)

    def post(self) -> None:
        self.finish(str(self._received))


class Echo(WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return True

    def open(self, *args: str, **more: str) -> None:
        self.set_nodelay(True)

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))

    @property
    def ping_interval(self) -> None:
        """No pings: they would come beside what is measured."""

    @property
    def ping_timeout(self) -> None:
        """None without pings."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    handlers = [("/bench/small", Small), ("/bench/download", Download), ("/bench/upload", Upload)]
    server_app.web_app.add_handlers(".*", [*handlers, ("/bench/echo", Echo)])
