"""The measuring side: one client library, aiohttp, for plain HTTP, for the bridge's WebSocket and for kernels."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pybase64

LIMIT_S = 120.0

Get = Callable[[str], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def direct(base: str, token: str) -> AsyncIterator[Get]:
    """GETs over connections that are kept and reused; the answer's body."""
    async with aiohttp.ClientSession(headers={"Authorization": f"token {token}"}, timeout=_limit()) as session:

        async def get(path: str) -> bytes:
            async with session.get(base + path) as answer:
                answer.raise_for_status()
                body: bytes = await answer.read()
                return body

        yield get


@contextlib.asynccontextmanager
async def bridged(base: str, token: str) -> AsyncIterator[Get]:
    """GETs carried by one WebSocket, however many at once."""
    waiting: dict[str, _Answer] = {}
    auth_url = quote(f"{base}/?token={token}", safe="")
    query = f"min_version=0.0.7&jupyter_http_over_ws_auth_url={auth_url}"
    async with (
        aiohttp.ClientSession(timeout=_limit()) as session,
        session.ws_connect(f"{base}/http_over_websocket?{query}", max_msg_size=0) as socket,
    ):
        reader = asyncio.create_task(_read(socket, waiting))

        async def get(path: str) -> bytes:
            message_id = uuid.uuid4().hex
            answer = waiting[message_id] = _Answer()
            await socket.send_str(json.dumps({"path": path, "method": "GET", "message_id": message_id}))
            return await asyncio.wait_for(answer.body, LIMIT_S)

        try:
            yield get
        finally:
            reader.cancel()


class _Answer:
    def __init__(self) -> None:
        self.body: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pieces: list[bytes] = []

    def add(self, piece: dict[str, Any]) -> None:
        if piece.get("status", 200) != 200:
            self.fail(f"{piece['status']} {piece['statusText']}")
        self._pieces.append(pybase64.b64decode(piece.get("data", "")))
        if piece["done"] and not self.body.done():
            self.body.set_result(b"".join(self._pieces))

    def fail(self, why: str) -> None:
        if not self.body.done():
            self.body.set_exception(RuntimeError(why))


async def _read(socket: aiohttp.ClientWebSocketResponse[bool], waiting: dict[str, _Answer]) -> None:
    async for message in socket:
        piece = orjson.loads(message.data)
        waiting[piece["message_id"]].add(piece)
        if piece["done"]:
            del waiting[piece["message_id"]]
    for answer in waiting.values():
        answer.fail(f"the socket closed with {socket.close_code}")


@contextlib.asynccontextmanager
async def kernel(base: str, token: str) -> AsyncIterator[str]:
    """A kernel of its own; the path of its channels."""
    async with aiohttp.ClientSession(headers={"Authorization": f"token {token}"}, timeout=_limit()) as session:
        async with session.post(f"{base}/api/kernels", json={}) as answer:
            answer.raise_for_status()
            kernel_id = (await answer.json())["id"]
        yield f"/api/kernels/{kernel_id}/channels"
        await session.delete(f"{base}/api/kernels/{kernel_id}")


class Channels:
    """A kernel's WebSocket, directly or through the bridge."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._socket = socket

    async def ask_info(self) -> None:
        await self._ask("kernel_info_request", {}, until={"kernel_info_reply"})

    async def run_cell(self) -> None:
        content = {"code": "print(1)", "silent": False, "store_history": False, "allow_stdin": False}
        await self._ask("execute_request", {**content, "user_expressions": {}}, until={"execute_reply", "idle"})

    async def _ask(self, kind: str, content: dict[str, Any], *, until: set[str]) -> None:
        asked = uuid.uuid4().hex
        header = {"msg_id": asked, "msg_type": kind, "version": "5.3", "session": "bench", "username": "bench"}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        await self._socket.send_str(json.dumps(request))
        missing = set(until)
        while missing:
            message = orjson.loads((await self._socket.receive(LIMIT_S)).data)
            if message["parent_header"].get("msg_id") == asked:
                missing -= {message["msg_type"], message["content"].get("execution_state", "")}


@contextlib.asynccontextmanager
async def channels(base: str, token: str, path: str, *, through_bridge: bool) -> AsyncIterator[Channels]:
    if through_bridge:
        auth_url = quote(f"{base}/?token={token}", safe="")
        url = f"{base}/http_over_websocket/proxied_ws{path}?jupyter_http_over_ws_auth_url={auth_url}"
    else:
        url = f"{base}{path}?token={token}"
    async with (
        aiohttp.ClientSession(timeout=_limit()) as session,
        session.ws_connect(url, max_msg_size=0) as socket,
    ):
        opened = Channels(socket)
        # The first answer comes only when the kernel has started.
        await opened.run_cell()
        yield opened


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def latencies_s(work: Callable[[], Awaitable[object]], *, count: int, at_once: int = 1) -> list[float]:
    """How long each of ``count`` took, ``at_once`` of them under way all the time."""
    found: list[float] = []

    async def one_after_the_other() -> None:
        for _ in range(count // at_once):
            found.append(await seconds(work))

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return found


def _limit() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=LIMIT_S)
