"""The open channels by their numbers, and the packets that may still arrive for closed ones."""

from __future__ import annotations

from collections.abc import Callable

from . import messages
from .aes_gcm import BadPacket

MAX_CLOSED_CHANNELS = 4096
MAX_LATE_MESSAGES = 64  # of a channel, beside its data
_ALLOWED_KINDS = (
    messages.WINDOW_ADJUST,
    messages.EOF,
    messages.CLOSE,
    messages.REQUEST,
    messages.REQUEST_SUCCESS,
    messages.REQUEST_FAILURE,
)


class ChannelTable:
    """Also knows how many bytes and messages may still arrive for each of the channels that were closed last (RFC 4254
    5.3). Servers answer a request after their own CLOSE, adjust the window, and send what the window had allowed.
    OpenSSH's client and paramiko ignore that, too."""

    def __init__(self) -> None:
        self._receivers: dict[int, Callable[[int, memoryview], None]] = {}
        self._late: dict[int, tuple[int, int]] = {}
        self._next_number = messages.FIRST_CHANNEL

    def __len__(self) -> int:
        """How many channels are open."""
        return len(self._receivers)

    def register(self, receive: Callable[[int, memoryview], None]) -> int:
        """The number of a new channel, whose messages are passed to ``receive(kind, message)``."""
        number = self._next_number
        self._next_number += 1
        self._receivers[number] = receive
        return number

    def unregister(self, number: int, credit: int) -> None:
        """``credit``: bytes that the peer may have sent before it received the CLOSE from here."""
        del self._receivers[number]
        self._late[number] = credit, MAX_LATE_MESSAGES
        if len(self._late) > MAX_CLOSED_CHANNELS:
            del self._late[next(iter(self._late))]

    def receive(self, message: memoryview) -> bool:
        """Handle a message for one of its channels; False if it is for none. Raises ``BadPacket``."""
        kind = message[0]
        if not messages.OPEN_CONFIRMATION <= kind <= messages.REQUEST_FAILURE:
            return False
        number = messages.uint32(message, 1)
        receive = self._receivers.get(number)
        if receive is not None:
            receive(kind, message)
        elif number < messages.FIRST_CHANNEL:
            return False
        else:
            self._check_late(number, message)
        return True

    def _check_late(self, number: int, message: memoryview) -> None:
        """Raises ``BadPacket`` for a channel that never existed or was closed long ago, and for too many messages."""
        kind = message[0]
        credit, count = self._late.get(number, (0, 0))
        if kind in (messages.DATA, messages.EXTENDED_DATA):
            credit -= messages.window_bytes(message)
        else:
            count = count - 1 if kind in _ALLOWED_KINDS else -1
        if number not in self._late or credit < 0 or count < 0:
            raise BadPacket(f"message {kind} for a channel that is not open")
        self._late[number] = credit, count
