"""What still comes for channels that are closed: ignored as far as it was under way (RFC 4254 5.3), and no further.

Servers answer a request after their own CLOSE, grant room, and send what the window had allowed: OpenSSH's client and
paramiko ignore it, too.
"""

from __future__ import annotations

from . import messages as wire
from .aes_gcm import BadPacket

MOST_CHANNELS = 4096
MOST_MESSAGES = 64  # of a channel, besides its data
_HARMLESS = (
    wire.WINDOW_ADJUST,
    wire.END_OF_DATA,
    wire.CLOSE,
    wire.REQUEST,
    wire.REQUEST_SUCCESS,
    wire.REQUEST_FAILURE,
)


class Late:
    """Of the channels that were closed last: how many bytes and messages may still come for each."""

    def __init__(self) -> None:
        self._left: dict[int, tuple[int, int]] = {}

    def closed(self, number: int, credit: int) -> None:
        """``credit``: what the peer may have sent before it knew."""
        self._left[number] = credit, MOST_MESSAGES
        if len(self._left) > MOST_CHANNELS:
            del self._left[next(iter(self._left))]

    def ignore(self, number: int, message: memoryview) -> None:
        """Raises ``BadPacket`` for a channel that never was, or is long gone, and for what it may never say."""
        kind = message[0]
        credit, messages = self._left.get(number, (0, 0))
        if kind in (wire.DATA, wire.EXTENDED_DATA):
            credit -= wire.size(message)
        elif kind in _HARMLESS:
            messages -= 1
        else:
            messages = -1
        if number not in self._left or credit < 0 or messages < 0:
            raise BadPacket(f"message {kind} for a channel that is not open")
        self._left[number] = credit, messages
