"""The client's part of a carrier's handshake, see ``bridge.streams.protocol.handshake``."""

from __future__ import annotations

import json
from typing import NamedTuple

from ...bridge.streams.protocol import frames
from ...bridge.streams.protocol.handshake import PATH, UPGRADE, client_proof, secret_proof
from ...core.errors import HealthError
from ...core.model import Secret
from ...core.sanitize import clean_line
from ...tunnel.identity import ServerIdentity, challenge, is_proof

_MAX_HEAD_BYTES = 16 << 10
_MAX_WELCOME_BYTES = 4096


class SessionTicket(NamedTuple):
    """``session``, ``secret``: empty to ask for a new session. ``generation``: rises each time the client has lost all
    carriers. ``replaced``, ``replaced_secret``: of a former session, whose streams a new one ends; empty for none."""

    session: str
    secret: Secret
    generation: int
    replaced: str = ""
    replaced_secret: Secret = Secret("")


class StreamsUnsupported(Exception):
    """The server takes over no connections: it has no bridge, an older one, or a TLS connection."""


class Refused(Exception):
    """The server has the streams, and refuses this session. ``reason``: a word of the protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClientHandshake:
    """Send ``request``, feed what arrives, send what ``feed`` returns, until ``ticket`` is that of the session that was
    joined. ``carrier``: the number of the carrier; ``rest``: what arrived after the handshake."""

    def __init__(self, identity: ServerIdentity, ticket: SessionTicket, carrier: int) -> None:
        path, self._expected = challenge(identity.token, identity.address, PATH)
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n\r\n"
        self.request = head.encode()
        self.is_done = False
        self.rest = b""
        self.ticket = ticket
        self._token = identity.token
        self.carrier = carrier
        self._received = b""
        self._sent_hello = False

    def feed(self, content: bytes) -> bytes:
        """What to send next, empty for nothing.

        Raises ``HealthError`` ``stranger-answered``, ``StreamsUnsupported``, ``Refused``.
        """
        self._received += content
        if not self._sent_hello:
            return self._on_head()
        self._on_welcome()
        return b""

    def eof_error(self) -> HealthError:
        """The error if the connection ended before the handshake was over."""
        why = f"after {len(self._received)} bytes of its response"
        return HealthError("not-answering", "Jupyter closed the connection", why)

    def _on_head(self) -> bytes:
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = b"HTTP/1.1 101 "
        if not self._received.startswith(status[: len(self._received)]):
            raise StreamsUnsupported(clean_line(lines[0].decode(errors="replace"), 100))
        if not separator:
            if len(self._received) > _MAX_HEAD_BYTES:
                raise StreamsUnsupported("a response without an end")
            return b""
        headers = dict(line.lower().partition(b": ")[::2] for line in lines[1:])
        proof = headers.get(b"streams-proof", b"").decode(errors="replace")
        nonce = headers.get(b"streams-nonce", b"").decode(errors="replace")
        if not is_proof(proof, self._expected) or not nonce.isalnum():
            why = "it took the connection over without a proof of the token"
            raise HealthError("stranger-answered", "An unknown process is listening on Jupyter's port", why)
        self._received, self._sent_hello = rest, True
        return self._hello(nonce)

    def _hello(self, nonce: str) -> bytes:
        session, secret, generation, replaced, replaced_secret = self.ticket
        hello = {
            "session": session,
            "generation": generation,
            "carrier": self.carrier,
            "proof": client_proof(self._token.reveal(), nonce, session, generation, self.carrier),
            "secret": secret_proof(secret.reveal(), nonce),
        }
        if replaced and not session:
            hello |= {"replaces": replaced, "replaces_secret": secret_proof(replaced_secret.reveal(), nonce)}
        return frames.frame(frames.HELLO, payload=json.dumps(hello).encode())

    def _on_welcome(self) -> None:
        if len(self._received) < frames.HEAD.size:
            return
        kind, _, _, _, _, size = frames.HEAD.unpack_from(self._received)
        if kind not in (frames.WELCOME, frames.REFUSED) or size > _MAX_WELCOME_BYTES:
            raise StreamsUnsupported("the handshake is not one that this version knows")
        content = self._received[frames.HEAD.size :]
        if len(content) < size:
            return
        try:
            answer = json.loads(content[:size])
            if kind == frames.REFUSED:
                raise Refused(clean_line(str(answer["reason"]), 100))
            self.ticket = self.ticket._replace(session=str(answer["session"]), secret=Secret(str(answer["secret"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise StreamsUnsupported("the handshake is not one that this version knows") from None
        self.rest = content[size:]
        self.is_done = True
