"""A local connection as the client's end of a stream. It outlives the event loop that serves it."""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Callable

from ...bridge.streams.protocol.frames import Buffer
from ...bridge.streams.protocol.stream import ResumableStream
from ..forwarder.client import Client, close_after_sending
from ..forwarder.loop import Loop

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class ClientSocket:
    """See ``bridge.streams.protocol.stream.LocalConnection``. Without a loop nothing is read from the client and
    nothing written to it: TCP makes it wait. ``current_loop``: the one that serves the stream now."""

    def __init__(self, client: Client, current_loop: Callable[[], Loop | None]) -> None:
        self._client = client
        self._sock = client.sock
        self._current_loop = current_loop
        self._wanted = 0
        self._watched = 0

    def serve(self, stream: ResumableStream) -> None:
        self._stream = stream

    def recv(self, max_bytes: int) -> bytes:
        content = self._sock.recv(max_bytes)
        if not content and self._stream.is_websocket:
            # RFC 6455 7.1.1: a client waits for the server to close first, so this one is gone, and reads no more.
            raise ConnectionResetError
        self._client.handler.on_transfer(len(content), 0)
        return content

    def send(self, buffers: list[Buffer]) -> int:
        if sys.platform == "win32":
            count = self._sock.send(buffers[0])
        else:
            count = self._sock.sendmsg(buffers)
        self._client.handler.on_transfer(0, count)
        return count

    def watch(self, *, readable: bool, writable: bool) -> None:
        self._wanted = (_READ if readable else 0) | (_WRITE if writable else 0)
        loop = self._current_loop()
        if loop is not None and self._wanted != self._watched:
            loop.watch(self._sock, self._watched, self._wanted, self._on_ready)
            self._watched = self._wanted

    def shut_down(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool) -> None:
        if reset:
            close_after_sending(self._client, b"", eof=False)
        else:
            self._client.close()

    def suspend(self, loop: Loop) -> None:
        """``loop`` serves it no longer; what is watched is remembered."""
        if self._watched:
            loop.watch(self._sock, self._watched, 0, self._on_ready)
            self._watched = 0

    def resume(self, loop: Loop) -> None:
        if self._wanted:
            loop.watch(self._sock, 0, self._wanted, self._on_ready)
            self._watched = self._wanted

    def _on_ready(self, events: int) -> None:
        if events & _WRITE:
            self._stream.on_writable()
        if events & _READ:
            self._stream.on_readable()
