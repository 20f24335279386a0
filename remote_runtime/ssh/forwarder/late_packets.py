"""Messages for channels that are closed: ignored as far as they may have been in flight (RFC 4254 5.3), and no further.

Servers answer a request after their own CLOSE, adjust the window, and send what the window had allowed. OpenSSH's
client and paramiko ignore that, too.
"""

from __future__ import annotations

from . import messages as wire
from .aes_gcm import BadPacket

MAX_CLOSED_CHANNELS = 4096
MAX_LATE_MESSAGES = 64  # of a channel, beside its data
_ALLOWED_KINDS = (
    wire.WINDOW_ADJUST,
    wire.EOF,
    wire.CLOSE,
    wire.REQUEST,
    wire.REQUEST_SUCCESS,
    wire.REQUEST_FAILURE,
)


class LatePackets:
    """How many bytes and messages may still arrive for each of the channels that were closed last."""

    def __init__(self) -> None:
        self._allowed: dict[int, tuple[int, int]] = {}

    def on_channel_closed(self, number: int, credit: int) -> None:
        """``credit``: bytes that the peer may have sent before it received our CLOSE."""
        self._allowed[number] = credit, MAX_LATE_MESSAGES
        if len(self._allowed) > MAX_CLOSED_CHANNELS:
            del self._allowed[next(iter(self._allowed))]

    def check(self, number: int, message: memoryview) -> None:
        """Raises ``BadPacket`` for a channel that never existed or was closed long ago, and for too many messages."""
        kind = message[0]
        credit, messages = self._allowed.get(number, (0, 0))
        if kind in (wire.DATA, wire.EXTENDED_DATA):
            credit -= wire.window_bytes(message)
        elif kind in _ALLOWED_KINDS:
            messages -= 1
        else:
            messages = -1
        if number not in self._allowed or credit < 0 or messages < 0:
            raise BadPacket(f"message {kind} for a channel that is not open")
        self._allowed[number] = credit, messages
