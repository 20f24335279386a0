"""A relay of Identity-Aware Proxy that shakes hands, says something, and then the same for ever; it reads nothing."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from remote_runtime.compute.iap.messages import SUBPROTOCOL

from .tcp_server import Listening

# RFC 6455 5.2. ``NO_MESSAGE`` begins one that ``FRAGMENT`` goes on with and never ends.
PING, PONG, TEXT, NO_MESSAGE, FRAGMENT = b"\x89\x00", b"\x8a\x00", b"\x81\x01a", b"\x02\x00", b"\x00\x00"
CONNECTED = bytes.fromhex("0001 00000003 736964")


def frame(message: bytes) -> bytes:
    """RFC 6455 5.2: the whole message, binary, not masked."""
    return b"\x82" + bytes([len(message)]) + message


class Flood(Listening):
    """``first`` once, ``then`` without end. ``environ``: where it is Google's relay."""

    def __init__(self, first: bytes, then: bytes) -> None:
        self._first, self._then = first, then * 2000
        super().__init__()

    @property
    def environ(self) -> Mapping[str, str]:
        url = "ws://{}:{}/v4".format(*self.address)
        return {"REMOTE_RUNTIME_IAP_URL": url, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
            while not (events := protocol.events_received()):
                protocol.receive_data(connection.recv(4096))
            assert isinstance(events[0], Request)
            protocol.send_response(protocol.accept(events[0]))
            connection.sendall(b"".join(protocol.data_to_send()) + self._first)
            while True:
                connection.sendall(self._then)
