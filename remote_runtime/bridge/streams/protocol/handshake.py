"""How a carrier begins: one round trip proves the server and takes the connection over, then HELLO proves the client.

    GET BASE/api/remote-runtime/streams?nonce=N&at=A      Upgrade: remote-runtime-streams
    101    Streams-Proof: HMAC(token, "remote-runtime-identity:" N "@" address)    Streams-Nonce: M
    HELLO  {session, generation, carrier, proof: HMAC(token, "remote-runtime-streams:" M ":" session ":" generation ":"
           carrier), secret: HMAC(secret, "resume:" M)}              an empty session asks for a new one
    WELCOME {session, secret}   or   REFUSED {reason}

A client that asks for a new session may add ``replaces``, the id of an older one, and ``replaces_secret``, HMAC(secret
of that one, "resume:" M): the server resets that session's streams at once, or ignores an id that it does not know.

``address``: where the connection arrived at the server, which ends relays: ``ADDRESS:PORT``, or the path of a unix
socket. Without ``at`` in the query, both it and the "@" are left out. The proof is that of ``bridge.identity``, so the
client judges both by the same code.

HMAC is HMAC-SHA256, in lower-case hexadecimal. Neither the token nor the secret travels, but the secret once, in the
WELCOME of a new session, over the connection that SSH protects.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Dict, NamedTuple

from .frames import ProtocolError

PATH = "/api/remote-runtime/streams"
UPGRADE = "remote-runtime-streams"
MAX_HELLO_BYTES = 4096
_MAX_NUMBER = (1 << 32) - 1


class Hello(NamedTuple):
    """What a client says in its HELLO. ``session``, ``replaces``: empty for none."""

    session: str
    generation: int
    carrier: int
    proof: str
    secret: str
    replaces: str
    replaces_secret: str


def parse_hello(payload: bytes) -> Hello:
    """Raises ``ProtocolError``."""
    try:
        fields: Any = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the HELLO is no JSON") from error
    if not isinstance(fields, dict):
        raise ProtocolError("the HELLO is no object")
    words = {name: fields.get(name, "") for name in ("session", "proof", "secret", "replaces", "replaces_secret")}
    numbers: Dict[str, Any] = {name: fields.get(name) for name in ("generation", "carrier")}
    if not all(isinstance(word, str) and word.isascii() for word in words.values()):
        raise ProtocolError("a word of the HELLO is none")
    if not all(isinstance(number, int) and 0 <= number <= _MAX_NUMBER for number in numbers.values()):
        raise ProtocolError("a number of the HELLO is none")
    return Hello(**words, **numbers)


def client_proof(token: str, nonce: str, session: str, generation: int, carrier: int) -> str:
    return _hmac(token, "remote-runtime-streams", nonce, session, generation, carrier)


def secret_proof(secret: str, nonce: str) -> str:
    return _hmac(secret, "resume", nonce)


def _hmac(key: str, *words: object) -> str:
    return hmac.new(key.encode(), ":".join(map(str, words)).encode(), hashlib.sha256).hexdigest()
