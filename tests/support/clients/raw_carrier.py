"""A carrier by hand: frames over a socket, for clients that no honest program is."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping
from typing import Any

from remote_runtime.bridge.identity import proof
from remote_runtime.bridge.streams.protocol import frames, handshake


def take_over(port: int, nonce: str, at: str = "") -> tuple[socket.socket, dict[str, str]]:
    """A connection that the server has taken over, which waits for a HELLO now, and the fields of its 101."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.sendall(
        f"GET {handshake.PATH}?nonce={nonce}&at={at} HTTP/1.1\r\nHost: localhost:{port}\r\n"
        f"Connection: Upgrade\r\nUpgrade: {handshake.UPGRADE}\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return sock, dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line)


class RawCarrier:
    """Connects and says HELLO at once. ``answer``: of the WELCOME or the REFUSED. ``proved``: the server did, for
    ``at`` where one is given. ``replaces``: the ``answer`` of another session."""

    def __init__(
        self,
        port: int,
        token: str,
        *,
        session: str = "",
        secret: str = "",
        generation: int = 1,
        number: int = 1,
        server_token: str = "",
        at: str = "",
        replaces: Mapping[str, str] | None = None,
    ) -> None:
        nonce = secrets.token_hex(32)
        self._sock, fields = take_over(port, nonce, at)
        self.proved = fields["Streams-Proof"] == proof(server_token or token, nonce, at)
        theirs = fields["Streams-Nonce"]
        hello = {
            "session": session,
            "generation": generation,
            "carrier": number,
            "proof": handshake.client_proof(token, theirs, session, generation, number),
            "secret": handshake.secret_proof(secret, theirs),
        }
        if replaces is not None:
            hello["replaces"] = replaces["session"]
            hello["replaces_secret"] = handshake.secret_proof(replaces["secret"], theirs)
        self.send(frames.frame(frames.HELLO, payload=json.dumps(hello).encode()))
        kind, _, _, payload = self.receive()
        assert kind in (frames.WELCOME, frames.REFUSED)
        self.answer: dict[str, Any] = json.loads(payload)

    def __enter__(self) -> RawCarrier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()

    def take_socket(self) -> socket.socket:
        """Its connection, for another who goes on with it."""
        self._sock.settimeout(None)
        return self._sock

    def send(self, content: bytes) -> None:
        self._sock.sendall(content)

    def receive(self) -> tuple[int, int, int, bytes]:
        """Kind, stream, offset and payload of the next frame."""
        kind, _, _, stream, offset, length = frames.HEAD.unpack(self._exactly(frames.HEAD.size))
        return kind, stream, offset, self._exactly(length)

    def receive_data(self, stream: int) -> bytes:
        """The payload of the stream's next DATA frame."""
        while True:
            kind, number, _, payload = self.receive()
            if (kind, number) == (frames.DATA, stream):
                return payload

    def is_closed(self) -> bool:
        """Whether the server closes it, now or within two seconds."""
        self._sock.settimeout(2)
        try:
            while self._sock.recv(65536):
                continue
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            more = self._sock.recv(size - len(content))
            if not more:
                raise ConnectionError("the server closed the carrier")
            content += more
        return content
