"""A relay of Identity-Aware Proxy that shakes hands, says something, and then the same for ever; it reads nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from remote_runtime.compute.iap.messages import SUBPROTOCOL

PING = b"\x89\x00"
CONNECTED = bytes.fromhex("0001 00000003 736964")


def frame(message: bytes) -> bytes:
    """RFC 6455 5.2: the whole message, binary, not masked."""
    return b"\x82" + bytes([len(message)]) + message


@contextmanager
def flooding(first: bytes, then: bytes) -> Iterator[Mapping[str, str]]:
    """The environment in which it is Google's relay."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, first, then), daemon=True).start()
        try:
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}/v4"
            yield {"REMOTE_RUNTIME_IAP_URL": url, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, first: bytes, then: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_flood, args=(sock, first, then * 2000), daemon=True).start()


def _flood(sock: socket.socket, first: bytes, then: bytes) -> None:
    with contextlib.suppress(OSError), sock:
        protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        while not (events := protocol.events_received()):
            protocol.receive_data(sock.recv(4096))
        assert isinstance(events[0], Request)
        protocol.send_response(protocol.accept(events[0]))
        sock.sendall(b"".join(protocol.data_to_send()) + first)
        while True:
            sock.sendall(then)
