"""A WebSocket in a resumable stream by hand: it reads, acknowledges and answers pings in ``receive`` only."""

from __future__ import annotations

from collections.abc import Iterator

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from remote_runtime.bridge.streams.protocol import frames

from ..servers.jupyter import JupyterServer
from .raw_carrier import RawCarrier

WINDOW_BYTES = 1 << 20


class StreamSocket:
    """Opened at once on ``carrier``; ``resume`` goes on with another. ``received``: the offset up to which bytes have
    arrived. ``was_reset``: the server's reason, empty if it did not reset the stream."""

    def __init__(self, carrier: RawCarrier, stream: int, server: JupyterServer, path: str) -> None:
        self.received = 0
        self.was_reset = ""
        self._carrier = carrier
        self._stream = stream
        self._sent = 0
        self._protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{server.port}{path}"), max_size=None)
        request = self._protocol.connect()
        request.headers["Authorization"] = f"token {server.token}"
        self._protocol.send_request(request)
        self._flush()
        while self._protocol.state is State.CONNECTING:
            self._take(*carrier.receive())

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN and not self.was_reset

    def send(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self._flush()

    def messages(self) -> Iterator[bytes]:
        """As they arrive; ends when the WebSocket is closed."""
        message = b""
        while self.is_open:
            self._take(*self._carrier.receive())
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    message += event.data
                    if event.fin:
                        yield message
                        message = b""

    def resume(self, carrier: RawCarrier) -> None:
        """Go on after an outage. What the server has not acknowledged is not sent again."""
        self._carrier = carrier
        entry = frames.SUMMARY_ENTRY.pack(self._stream, self.received, self.received + WINDOW_BYTES)
        carrier.send(frames.frame(frames.SUMMARY, payload=entry))

    def _take(self, kind: int, stream: int, offset: int, payload: bytes) -> None:
        if kind == frames.RESET and stream == self._stream:
            self.was_reset = payload.decode()
        if kind != frames.DATA or stream != self._stream or offset + len(payload) <= self.received:
            return
        assert offset <= self.received, "bytes are missing"
        self._protocol.receive_data(payload[self.received - offset :])
        self.received = offset + len(payload)
        limit = frames.LIMIT.pack(self.received + WINDOW_BYTES)
        self._carrier.send(frames.frame(frames.ACK, stream, self.received, limit))
        self._flush()

    def _flush(self) -> None:
        for content in self._protocol.data_to_send():
            self._carrier.send(frames.frame(frames.DATA, self._stream, self._sent, content))
            self._sent += len(content)
