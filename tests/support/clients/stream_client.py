"""The client's end of resumable streams: a local port whose connections outlive their carrier, which tests cut."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from tornado.ioloop import IOLoop

from remote_runtime.bridge.streams.protocol import frames
from remote_runtime.bridge.streams.protocol.carrier import Carrier
from remote_runtime.bridge.streams.protocol.send_buffer import SpoolBudget
from remote_runtime.bridge.streams.protocol.session import StreamSession
from remote_runtime.bridge.streams.sockets import CarrierSocket, LocalSocket
from tests.support.clients.raw_carrier import RawCarrier

T = TypeVar("T")
LIMIT_S = 20.0


class PageSocket(LocalSocket):
    """Of a page, which is gone when its WebSocket ends, as the program's own client takes it."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.recv = self._recv  # type: ignore[method-assign]  # LocalSocket takes the socket's own

    def _recv(self, max_bytes: int) -> bytes:
        content = self._sock.recv(max_bytes)
        if not content and self.stream.is_websocket:
            raise ConnectionResetError
        return content


class StreamClient:
    """``port``: forwards to the server's. It is attached at first."""

    def __init__(self, server_port: int, token: str) -> None:
        self._server_port = server_port
        self._token = token
        self._welcome: dict[str, Any] = {}
        self._generation = 0
        self._kept: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        started.wait(LIMIT_S)
        self.attach()

    def __enter__(self) -> StreamClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()
        for each in self._kept:
            each.close()

    def attach(self) -> None:
        """Connect a carrier, also to the session that lost its carriers."""
        self._generation += 1
        carrier = RawCarrier(
            self._server_port, self._token, **self._welcome, generation=self._generation, number=self._generation
        )
        assert "session" in carrier.answer, carrier.answer
        self._welcome = carrier.answer
        number, self._socket = self._generation, carrier.take_socket()
        sock = self._socket
        self._call(lambda: self._session.attach(Carrier(self._session, CarrierSocket(sock), number)))

    def cut(self, *, silently: bool = False) -> None:
        """Lose the carrier. ``silently``: the server gets neither bytes nor an end."""
        if silently:
            self._kept.append(self._socket.dup())
        self._call(self._lose)

    def end_session(self) -> None:
        """As another process that took over and knows none of the streams: the server is told to reset them."""
        self._generation += 1
        with RawCarrier(
            self._server_port, self._token, **self._welcome, generation=self._generation, number=self._generation
        ) as carrier:
            kind, _, _, summary = carrier.receive()
            assert kind == frames.SUMMARY
            for number, _, _ in frames.SUMMARY_ENTRY.iter_unpack(summary):
                carrier.send(frames.frame(frames.RESET, number, 0, b"unknown"))
            carrier.send(frames.frame(frames.SUMMARY))

    def vanish(self) -> None:
        """As a process that is killed: the port, its connections and the carrier are gone."""
        if self._thread.is_alive():
            self._call(self._close)
            self._thread.join(LIMIT_S)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        self._loop = IOLoop.current()
        self._session = StreamSession(clock=time.monotonic, call_later=self._loop.call_later, budget=SpoolBudget())
        self._listener.setblocking(False)
        self._loop.add_handler(self._listener, lambda *_: self._accept(), IOLoop.READ)
        started.set()
        self._loop.start()
        self._loop.close(all_fds=False)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._session.open_stream(PageSocket(connection))

    def _lose(self) -> None:
        for carrier in list(self._session.carriers):
            self._session.lose(carrier, "cut by the test")

    def _close(self) -> None:
        self._lose()  # before its streams: the server is told nothing
        self._session.close("killed by the test")
        self._loop.remove_handler(self._listener)
        self._listener.close()
        self._loop.stop()

    def _call(self, call: Callable[[], T]) -> T:
        """In the loop's thread."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except BaseException as error:
                done.set_exception(error)
                raise

        self._loop.add_callback(run)
        return done.result(LIMIT_S)
