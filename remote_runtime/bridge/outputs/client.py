"""What one WebSocket of a kernel has been sent, and how much of it has arrived."""

from __future__ import annotations

import re
from array import array
from typing import Any, Dict, Optional, Protocol, Union

from .journal import Journal

# In each of Jupyter's three formats for a WebSocket the message's own header comes first.
_MESSAGE_ID = re.compile(rb'"msg_id"\s*:\s*"([^"]*)"')
_MAX_HEAD = 4096
MAX_EARLY = 4096
_COMPACT_AT = 4096


class WebSocketTransport(Protocol):
    """The connection below a WebSocket."""

    def is_attached(self) -> bool:
        """Whether its client is there."""

    def wrote(self, done: Any) -> int:
        """Called once for each message, which was just written: the offset at which it ends. ``done``: the future of
        the write."""

    def arrived(self) -> int:
        """The offset up to which all has arrived, as far as it is known."""


class SentMessages:
    """Pairs of a message's number and of the offset at which it ends, both rising."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._ends = array("q")
        self._first = 0

    def append(self, number: int, end: int) -> None:
        self._numbers.append(number)
        self._ends.append(end)

    def pop_before(self, offset: int) -> "array[int]":
        """The numbers of those that end at or before ``offset``."""
        first = self._first
        while self._first < len(self._ends) and self._ends[self._first] <= offset:
            self._first += 1
        popped = self._numbers[first : self._first]
        if self._first > _COMPACT_AT and 2 * self._first > len(self._ends):
            del self._numbers[: self._first]
            del self._ends[: self._first]
            self._first = 0
        return popped


class KernelClient:
    """``joined``: the number of the first message after its handshake. ``first``: of the first one that it was sent
    since; None before. Older messages that it is sent are a replay by the server."""

    def __init__(self, journal: Journal, transport: WebSocketTransport) -> None:
        self.transport = transport
        self.joined = journal.next
        self.first: Optional[int] = None
        self._journal = journal
        self._cursor = 0  # the numbers of what is sent rise
        self._sent = SentMessages()
        self._early: Dict[int, int] = {}  # sent before the journal has it: hash of the id → offset

    @property
    def begins(self) -> int:
        """The number of the first message that it may still get, apart from a replay."""
        return self.joined if self.first is None else self.first

    def on_written(self, message: Union[str, bytes, Dict[str, Any]], done: Any) -> None:
        """Called when ``message`` was written to the WebSocket. ``done``: the future of the write."""
        end, id_hash = self.transport.wrote(done), hash_of_message(message)
        if id_hash is None:
            return
        number = self._journal.find(id_hash, self._cursor)
        if number is not None:
            self._on_sent(number, end)
            return
        if len(self._early) >= MAX_EARLY:
            del self._early[next(iter(self._early))]
        self._early[id_hash] = end

    def on_published(self, number: int, id_hash: int) -> None:
        """Called when the journal has got a message."""
        end = self._early.pop(id_hash, None)
        if end is not None:
            self._on_sent(number, end)

    def settle(self) -> None:
        """Report what has arrived to the journal."""
        for number in self._sent.pop_before(self.transport.arrived()):
            if self.first is not None and number >= self.first:
                # Jupyter drops messages of a kernel that publishes too many, and reports that to this client.
                self._journal.deliver(self.first, number + 1)
            else:
                self._journal.deliver(number, number + 1)

    def early_arrivals(self) -> "list[int]":
        """The hashes of the ids of messages that have arrived, and that the journal has not got yet."""
        arrived = self.transport.arrived()
        return [id_hash for id_hash, end in self._early.items() if end <= arrived]

    def _on_sent(self, number: int, end: int) -> None:
        self._cursor = number + 1
        if self.first is None and number >= self.joined:
            self.first = number
        self._sent.append(number, end)


def hash_of_id(message_id: bytes) -> int:
    return hash(message_id)


def hash_of_message(message: Union[str, bytes, Dict[str, Any]]) -> Optional[int]:
    """Of the id of a message as it is written to a WebSocket; None if it has none."""
    if isinstance(message, dict):
        return None
    head = message[:_MAX_HEAD]
    found = _MESSAGE_ID.search(head.encode(errors="replace") if isinstance(head, str) else bytes(head))
    return hash_of_id(found.group(1)) if found else None
