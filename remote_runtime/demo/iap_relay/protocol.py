"""What the relay of Identity-Aware Proxy is asked, answers, and can be told to do wrong."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SUBPROTOCOL = "relay.tunnel.cloudproxy.app"
ORIGIN = "bot:iap-tunneler"
MAX_ARRAY_BYTES = 16384

FaultKind = Literal[
    "rst",  # the connection is reset
    "fin",  # it is closed cleanly, without a WebSocket's close
    "tls-eof",  # TCP ends, TLS does not
    "write-error",  # nothing is read for a while, then what was written is refused
    "silence",  # nothing is read or written any more
    "close",  # a WebSocket's close with ``code``
    "long-close",  # the message for it
    "low-ack",
    "high-ack",
    "second-success",
    "oversized",  # an array above the limit
    "early-data",  # data before the success
    "garbage",
]


@dataclass(frozen=True)
class RelayFault:
    """What one connection does after it has carried ``after_bytes`` in both directions together."""

    kind: FaultKind
    after_bytes: int = 0
    code: int = 0


@dataclass(frozen=True)
class TunnelRequest:
    """One request for a connection. ``verb``: ``connect`` or ``reconnect``."""

    verb: str
    query: Mapping[str, str]
    token: str
    user_agent: str


class RelayRefusal(Exception):
    """A connection that is accepted and closed at once, with this WebSocket close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def connect_success_sid(sid: str) -> bytes:
    return struct.pack(">HI", 1, len(sid)) + sid.encode()


def reconnect_success_ack(received: int) -> bytes:
    return struct.pack(">HQ", 2, received)


def data(content: bytes) -> bytes:
    return struct.pack(">HI", 4, len(content)) + content


def ack(received: int) -> bytes:
    return struct.pack(">HQ", 7, received)


def long_close(code: int, reason: str) -> bytes:
    return struct.pack(">HII", 10, code, len(reason)) + reason.encode()
