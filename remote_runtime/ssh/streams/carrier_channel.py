"""A channel of the SSH connection as a carrier's transport, from its opening through the handshake."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from ...bridge.streams.protocol.carrier import Carrier
from ...bridge.streams.protocol.frames import Buffer
from ...core.errors import HealthError, RemoteRuntimeError
from ...core.model import format_address
from ..forwarder.channel import Channel
from ..forwarder.loop import Loop
from .handshake import ClientHandshake, Refused, StreamsUnsupported

_OPEN_TIMEOUT_S = 15.0
HandshakeError = RemoteRuntimeError | StreamsUnsupported | Refused


class CarrierChannelOwner(Protocol):
    """Called in the loop's thread, ``on_joined`` or ``on_failed`` once, ``on_closed`` once after ``on_joined``."""

    host: str
    port: int

    def open_error(self, reason: int, text: str) -> RemoteRuntimeError: ...
    def on_joined(self, transport: CarrierChannel) -> None: ...
    def on_failed(self, transport: CarrierChannel, error: HandshakeError) -> None: ...
    def on_closed(self, transport: CarrierChannel) -> None: ...


class CarrierChannel:
    """Used in the loop's thread. Opens a channel to the server at ``owner``'s host and port, and joins a session;
    then it is a ``CarrierTransport`` (``bridge.streams.protocol.carrier``)."""

    def __init__(self, loop: Loop, owner: CarrierChannelOwner, handshake: ClientHandshake, number: int) -> None:
        self.handshake = handshake
        self.number = number
        self._loop = loop
        self._owner = owner
        self._unsent = b""
        self._carrier: Carrier | None = None
        self._is_over = False
        self._wants_to_send = False
        self._opened_at = time.monotonic()
        self._channel = Channel(loop, self, owner.host, owner.port)
        loop.call_later(_OPEN_TIMEOUT_S, self._check_timeout)

    # ── as the transport of a carrier

    def serve(self, carrier: Carrier) -> None:
        self._carrier = carrier

    def send(self, buffers: Sequence[Buffer]) -> int:
        channel = self._channel
        if channel.send_window <= 0 or not self._loop.can_send():
            return 0
        count = self._loop.read_buffers.fill(buffers, channel.send_window, channel.max_packet)
        channel.send_window -= count
        self._loop.send_from_buffers(channel.peer, count)
        return count

    def watch_writable(self, wanted: bool) -> None:
        self._wants_to_send = wanted
        if wanted and self._channel.send_window > 0:
            self._loop.wait_writable(self._on_writable)

    def close(self) -> None:
        self._wants_to_send = False
        if not self._is_over:
            self._is_over = True
            self._channel.close()
            if self._carrier is not None:
                self._owner.on_closed(self)

    def _on_writable(self) -> None:
        if self._carrier is not None and self._wants_to_send:
            self._carrier.on_writable()
            self.watch_writable(self._wants_to_send)

    # ── called by the channel

    def on_opened(self) -> None:
        self._send(self.handshake.request)

    def on_refused(self, reason: int, text: str) -> None:
        self._fail(self._owner.open_error(reason, text))

    def on_data(self, content: memoryview) -> None:
        size = len(content)
        if self._carrier is not None:
            self._carrier.on_received(content)
            self._loop.schedule_flush(self._carrier.on_all_received)
        else:
            self._on_handshake(bytes(content))
        self._channel.consume(size)

    def on_window(self) -> None:
        if self._unsent:
            self._send(b"")
        if self._wants_to_send:
            self._on_writable()

    def on_eof(self) -> None:
        if self._carrier is not None:
            self._carrier.on_lost("Jupyter closed the connection")
        else:
            self._fail(self.handshake.eof_error())

    def on_closed(self) -> None:
        """Both sides have closed the channel, which ``on_eof`` has preceded."""

    # ── the handshake

    def _send(self, content: bytes) -> None:
        self._unsent += content
        self._unsent = self._unsent[self._channel.send(self._unsent) :]

    def _on_handshake(self, content: bytes) -> None:
        if self._is_over:
            return
        try:
            self._send(self.handshake.feed(content))
        except (RemoteRuntimeError, StreamsUnsupported, Refused) as error:
            self._fail(error)
            return
        if self.handshake.is_done:
            self._owner.on_joined(self)
            if self._carrier is not None and self.handshake.rest:
                self._carrier.on_received(memoryview(self.handshake.rest))
                self._carrier.on_all_received()

    def _fail(self, error: HandshakeError) -> None:
        if not self._is_over:
            self.close()
            self._owner.on_failed(self, error)

    def _check_timeout(self) -> None:
        if self._carrier is None:
            what = f"{format_address(self._owner.host, self._owner.port)} on the machine does not respond"
            self._fail(HealthError("not-answering", what, f"no response within {_OPEN_TIMEOUT_S:.0f} s"))
