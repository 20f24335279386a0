"""Requests and messages of Identity-Aware Proxy's relay, protocol v4."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

SUBPROTOCOL = "relay.tunnel.cloudproxy.app"
ORIGIN = "bot:iap-tunneler"
MAX_ARRAY_BYTES = 16384


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
