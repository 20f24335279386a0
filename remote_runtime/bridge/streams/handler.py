"""``/api/remote-runtime/streams``: takes the connection over as a carrier, see ``protocol.handshake``."""

from __future__ import annotations

import json
import re
import secrets
import socket
from datetime import timedelta
from typing import Dict

from tornado.gen import with_timeout
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.util import TimeoutError
from tornado.web import RequestHandler

from ..identity import MIN_TOKEN_CHARS, bound_address, proof
from ..origins import is_local_name
from ..request_guard import stream_of
from ..server_compat import open_to_unauthenticated, server_token
from .protocol import frames
from .protocol.handshake import MAX_HELLO_BYTES, UPGRADE, Hello, parse_hello
from .server import StreamServer

_NONCE = re.compile(r"[0-9a-f]{32,128}")
_HELLO_TIMEOUT = timedelta(seconds=5)
_MAX_WAITING = 64
_CARRIER_SOCKET_BYTES = 512 << 10  # a deep socket buffer takes a whole window into one carrier


class StreamsHandler(RequestHandler):
    """Authenticates its clients itself: who does not know the token can neither join nor learn anything."""

    _waiting = 0

    def initialize(self, streams: StreamServer) -> None:
        self._streams = streams

    @open_to_unauthenticated
    async def get(self) -> None:
        nonce, token, stream = (
            self.get_query_argument("nonce", ""),
            server_token(self.settings),
            stream_of(self.request),
        )
        if not is_local_name(self.request.headers.get("Host", ""), self.settings.get("local_hostnames", ())):
            self._refuse(403, "the Host header names another computer")
        elif self.request.headers.get("Upgrade") != UPGRADE:
            self._refuse(426, f"the request asks for no upgrade to {UPGRADE}")
        elif _NONCE.fullmatch(nonce) is None:
            self._refuse(400, "nonce must be 32 to 128 hexadecimal characters")
        elif len(token) < MIN_TOKEN_CHARS:
            self._refuse(404, f"this server has no token of {MIN_TOKEN_CHARS} or more characters")
        elif stream is None or isinstance(stream, SSLIOStream):
            self._refuse(501, "a TLS connection cannot be taken over")
        elif StreamsHandler._waiting >= _MAX_WAITING:
            self._refuse(503, "too many connections have not said who they are")
        else:
            StreamsHandler._waiting += 1
            try:
                said = proof(token, nonce, bound_address(self))
                await self._take_over(self.detach(), said)
            finally:
                StreamsHandler._waiting -= 1

    async def _take_over(self, stream: IOStream, proof: str) -> None:
        nonce = secrets.token_hex(32)
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            f"Upgrade: {UPGRADE}\r\nStreams-Proof: {proof}\r\nStreams-Nonce: {nonce}\r\n\r\n"
        )
        try:
            await stream.write(head.encode())
            hello = await with_timeout(_HELLO_TIMEOUT, _read_hello(stream), quiet_exceptions=StreamClosedError)
            reason = self._streams.refusal(hello, nonce)
            if reason:
                await stream.write(_json_frame(frames.REFUSED, {"reason": reason}))
                stream.close()
                return
            session_id, secret = self._streams.join(hello)
            await stream.write(_json_frame(frames.WELCOME, {"session": session_id, "secret": secret}))
            sock = stream.socket.dup()
        except (StreamClosedError, TimeoutError, frames.ProtocolError, OSError):
            stream.close()  # who says no HELLO gets no answer
            return
        stream.close()  # its own descriptor: the connection stays open with the other
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CARRIER_SOCKET_BYTES)
        self._streams.attach(session_id, sock, hello.carrier)

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish({"message": message})


async def _read_hello(stream: IOStream) -> Hello:
    """Raises ``ProtocolError``, ``StreamClosedError``. The client sends nothing after it before the WELCOME."""
    kind, _, _, _, _, length = frames.HEAD.unpack(await stream.read_bytes(frames.HEAD.size))
    if kind != frames.HELLO or length > MAX_HELLO_BYTES:
        raise frames.ProtocolError("the first frame is no HELLO")
    return parse_hello(await stream.read_bytes(length))


def _json_frame(kind: int, content: Dict[str, str]) -> bytes:
    return frames.frame(kind, payload=json.dumps(content).encode())
